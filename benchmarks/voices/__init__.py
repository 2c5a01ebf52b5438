"""The voices that are compared, each a process of its own, and what they are given to say."""
