"""``python -m saddlepoint``."""

from saddlepoint.cli.main import main

main()
