"""The command `doctor`: prints what `serving/doctor.py` found."""

from rich.console import Console

from serving.configuration import configure
from serving.doctor import Report, examine

UNWELL = 1
"""The exit code when something is wrong."""


def report_health(as_json: bool) -> int:
    """Print the report; gives UNWELL if there are problems."""
    report = examine(configure())
    if as_json:
        print(report.model_dump_json())
    else:
        _print(Console(highlight=False, soft_wrap=True), report)
    return 0 if report.ok else UNWELL


def _print(console: Console, report: Report) -> None:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    _print_line(console, "versions", versions)
    for device in report.devices:
        _print_line(
            console, "device", f"{device.name}: {device.description}, {device.memory_bytes / 2**30:.1f} GiB"
        )
    for part in report.weights:
        size = f"{part.bytes / 2**20:.1f} MiB, sha256 {part.sha256[:12]}" if part.sha256 else str(part.path)
        _print_line(console, "weights", f"{part.name}: {part.state}, {size}")
    for kind, names in report.vocabulary.items():
        _print_line(console, "vocabulary", f"{kind}: {', '.join(names)}")
    _print_line(console, "disk", f"{report.disk_free_bytes / 2**30:.1f} GiB free at {report.home}")
    for store in report.stores:
        _print_line(console, "store", f"{store.name}: {store.state}, {store.path}")
    for endpoint in report.endpoints:
        models = f", models: {', '.join(endpoint.models)}" if endpoint.models else ""
        _print_line(console, "endpoint", f"{endpoint.name}: {endpoint.state}, {endpoint.base_url}{models}")
    for problem in report.problems:
        console.print(f"wrong: {problem}", style="bold red", markup=False)
    console.print("all is well" if report.ok else f"{len(report.problems)} wrong", markup=False, style="bold")


def _print_line(console: Console, subject: str, text: str) -> None:
    console.print(f"{subject:<11}", end="", style="dim", markup=False)
    console.print(text, markup=False)
