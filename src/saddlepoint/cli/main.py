"""``saddlepoint``: the commands, and how their errors end."""

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def _keep_memory() -> None:
    """Let glibc keep freed memory: handing it back after every layer cost a tenth of an attack in page faults."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(option, 1 << 30)


def main() -> None:
    """Run the command line; bad input ends in one line and exit code 2."""
    _keep_memory()
    try:
        import jinja2  # noqa: F401
        import rich  # noqa: F401
        import typer  # noqa: F401
        import yaml  # noqa: F401
    except ImportError:
        sys.exit("saddlepoint: the command line needs: pip install 'saddlepoint[cli]'")
    from rich.text import Text

    from saddlepoint.cli.common import errors_to
    from saddlepoint.errors import SaddlepointError

    try:
        commands()()
    except SaddlepointError as error:
        errors_to().print(Text.assemble(("error ", "bold red"), str(error)), soft_wrap=True)
        sys.exit(2)


def commands() -> "typer.Typer":
    """Every command, one function each."""
    from typing import Annotated

    import typer

    from saddlepoint import __version__
    from saddlepoint.cli.advgan import advgan
    from saddlepoint.cli.attack import attack
    from saddlepoint.cli.detect import detect
    from saddlepoint.cli.diagnose import diagnose
    from saddlepoint.cli.doctor import doctor
    from saddlepoint.cli.evaluate import evaluate
    from saddlepoint.cli.listing import listing
    from saddlepoint.cli.runs import compare, report
    from saddlepoint.cli.train import train
    from saddlepoint.cli.transfer import transfer
    from saddlepoint.cli.universal import universal

    app = typer.Typer(
        name="saddlepoint",
        help="How robust a classifier is against adversarial examples, and how to make it more robust.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    def tell_version(asked: bool) -> bool:
        if asked:
            typer.echo(f"saddlepoint {__version__}")
            raise typer.Exit
        return asked

    @app.callback()
    def before(
        version: Annotated[
            bool, typer.Option("--version", callback=tell_version, is_eager=True, help="Print the version and stop.")
        ] = False,
    ) -> None:
        pass

    app.command("evaluate")(evaluate)
    app.command("attack")(attack)
    app.command("universal")(universal)
    app.command("advgan")(advgan)
    app.command("detect")(detect)
    app.command("doctor")(doctor)
    app.command("diagnose")(diagnose)
    app.command("transfer")(transfer)
    app.command("train")(train)
    app.command("list")(listing)
    app.command("report")(report)
    app.command("compare")(compare)
    return app
