"""report: every number and picture on one page, and the result in MLflow."""

from vit_atlas.io.files import atomic_file
from vit_atlas.paths import REPORT
from vit_atlas.report import render_report
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage
from vit_atlas.tracking import mirror


def main() -> None:
    settings = load_settings()
    page = render_report(settings)
    with atomic_file(REPORT) as temporary:
        temporary.write_text(page, encoding="utf-8")
    mirror()


if __name__ == "__main__":
    run_stage(main)
