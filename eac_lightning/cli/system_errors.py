"""What the system refuses, in a sentence."""

import errno

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR)


def explain_refusal(error: OSError) -> str | None:
    """Return what to do where the system allows no reading or writing; None for any other error."""
    place = f"{error.filename}" if error.filename else "a file"
    if error.errno in _IN_THE_WAY:
        return f"{place}: {error.strerror}. A file stands where a folder is to be: name another one, or move the file."
    if error.errno not in _REFUSED:
        return None
    return (
        f"{place}: {error.strerror}. Expected to be allowed to read the data and to write the folder of the results. "
        "Change who may (chmod, chown), or choose a folder of your own: --trainer.default_root_dir of a run, --out of "
        "other commands."
    )
