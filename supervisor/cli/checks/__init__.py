"""What `doctor` looks at by itself. Each check takes what it looks at, and changes nothing.

A check yields findings; it says nothing, or that all is well in a line, where there is nothing to
do. What it cannot look at it lets raise: `supervisor.cli.doctor` makes a finding of that too.
"""
