"""What to do about pictures that cannot be read."""

import logging
from collections.abc import Mapping

from eac_lightning.data.annotations import ON_BAD_IMAGE
from eac_lightning.data.pictures import printable
from eac_lightning.errors import DataError, unknown_name

_SHOWN = 20

logger = logging.getLogger("eac_lightning")


def report_bad_images(bad: Mapping[str, str], policy: str, asked: int) -> None:
    """Refuse the pictures that cannot be read, or say that they are left out.

    Args:
        bad: Name → reason.
        policy: ``"error"`` or ``"skip"``.
        asked: How many pictures were to be read.

    Raises:
        DataError: If there are any and the policy is ``"error"``, or if nothing is left.
        ConfigurationError: If the policy is neither.
    """
    if policy not in ON_BAD_IMAGE:
        raise unknown_name("on_bad_image", policy, ON_BAD_IMAGE)
    if not bad:
        return
    lines = [f"  {printable(name)}: {reason}" for name, reason in list(bad.items())[:_SHOWN]]
    if len(bad) > _SHOWN:
        lines.append(f"  … and {len(bad) - _SHOWN} more")
    listed = "\n".join(lines)
    if policy == "error" or len(bad) == asked:
        raise DataError(
            f"{len(bad)} of {asked} pictures cannot be read:\n{listed}\n"
            "Repair or remove them, or leave them out with on_bad_image='skip' (--data.on_bad_image skip)."
        )
    logger.warning("Left out %d of %d pictures, which cannot be read:\n%s", len(bad), asked, listed)
