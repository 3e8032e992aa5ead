"""``saddlepoint``: the commands, and how their errors end."""

import sys


def main() -> None:
    """Run the command line; bad input ends in one line and exit code 2."""
    try:
        import jinja2  # noqa: F401
        import pydantic  # noqa: F401
        import rich  # noqa: F401
        import typer
        import yaml  # noqa: F401
    except ImportError:
        sys.exit("saddlepoint: the command line needs: pip install 'saddlepoint[cli]'")
    from rich.text import Text

    from saddlepoint.cli.common import errors_to
    from saddlepoint.cli.evaluate import evaluate
    from saddlepoint.cli.listing import listing
    from saddlepoint.cli.runs import compare, report
    from saddlepoint.cli.train import train
    from saddlepoint.errors import SaddlepointError

    app = typer.Typer(
        name="saddlepoint",
        help="How robust a classifier is against adversarial examples, and how to make it more robust.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.command("evaluate")(evaluate)
    app.command("train")(train)
    app.command("list")(listing)
    app.command("report")(report)
    app.command("compare")(compare)
    try:
        app()
    except SaddlepointError as error:
        errors_to().print(Text.assemble(("error ", "bold red"), str(error)), soft_wrap=True)
        sys.exit(2)
