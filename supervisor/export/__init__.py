"""The same services without atlasctl: for Kubernetes, systemd or launchd, as files to be read.

Each format has a renderer, `request -> Exported`, that is pure. What a format has no word for comes
back as a note; nothing of the YAML is dropped in silence.
"""
