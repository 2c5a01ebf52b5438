"""Login items that are made up, one plain and one of a folder with every awkward character."""

from supervisor.install.item import LoginItem

PLAIN = LoginItem(
    name="atlas-1a2b3c4d",
    command=(
        "/srv/atlas/.venv/bin/python",
        "-P",
        "-m",
        "supervisor.cli",
        "-c",
        "/srv/atlas/config/services.yaml",
        "run",
        "--login",
    ),
    config="/srv/atlas/config/services.yaml",
    log="/Users/a/Library/Logs/org.atlasctl.atlas-1a2b3c4d.log",
    stop_seconds=23,
    environment={
        "LANG": "uk_UA.UTF-8",
        "PATH": "/opt/homebrew/bin:/usr/bin:/bin",
        "PYTHONPATH": "/srv/atlas",
    },
)

_ODD = "/srv/a b/$HOME %h %% ${X} \"q\" 'p' їжак \\x5c <&> ;#--/"
ODD = LoginItem(
    name="odd-00000000",
    command=(
        "/srv/a b/$HOME %h ${X} їжак ;#--/python",
        "-P",
        "-m",
        "supervisor.cli",
        "-c",
        f"{_ODD}s.yaml",
        "run",
    ),
    config=f"{_ODD}s.yaml",
    log=f"{_ODD}Library/Logs/org.atlasctl.odd-00000000.log",
    stop_seconds=20,
    environment={"PATH": f"{_ODD}:/bin"},
)
