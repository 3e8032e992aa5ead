"""What every net asks of its arguments."""

from saddlepoint.errors import SettingError


def check_sizes(net: str, **values: tuple[int, int]) -> None:
    """Each argument with its least value.

    Raises:  SettingError for one that is less.
    """
    for name, (value, least) in values.items():
        if value < least:
            raise SettingError(f"{name}={value} of {net} must be at least {least}")
