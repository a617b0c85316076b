"""What the system refuses, in a sentence."""

import errno

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def explain_refusal(error: OSError) -> str | None:
    """Return what to do where the system allows no reading or writing; None for any other error."""
    if error.errno not in _REFUSED:
        return None
    place = f"{error.filename}" if error.filename else "a file"
    return (
        f"{place}: {error.strerror}. Expected to be allowed to read the data and to write the folder of the results. "
        "Change who may (chmod, chown), or choose a folder of your own: --trainer.default_root_dir of a run, --out of "
        "other commands."
    )
