"""Packages of tools as pip installs them: modules, and metadata that names their entry points."""

from pathlib import Path


def install(folder: Path, package: str, source: str, *points: str) -> Path:
    """Install a package of one module into a folder; each point is a line of the group `chat.tools`."""
    module = package.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(source)
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = points or (f"{module} = {module}",)
    (metadata / "entry_points.txt").write_text("\n".join(["[chat.tools]", *lines]) + "\n")
    return folder
