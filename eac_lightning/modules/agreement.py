"""What a DataModule tells a module, and whether the two agree."""

from collections.abc import Sequence

from eac_lightning.errors import ConfigurationError


def numbered(count: int) -> tuple[str, ...]:
    """Return the names of ``count`` classes of which only the number is known."""
    return tuple(str(label) for label in range(count))


def told_class_names(data: object) -> list[str]:
    """Return the classes that a DataModule tells of, as names or as a number; empty if it does not."""
    names = getattr(data, "class_names", None)
    if names:
        return [str(name) for name in names]
    count = getattr(data, "num_classes", None)
    return list(numbered(count)) if isinstance(count, int) else []


def told_image_size(data: object) -> int | None:
    """Return the side in pixels of the images that a DataModule says it yields."""
    size = getattr(data, "image_size", None)
    return size if isinstance(size, int) else None


def check_agreement(
    class_names: Sequence[str], image_size: int | None, data_names: Sequence[str], data_size: int | None
) -> None:
    """Refuse data of other classes, of the same in another order, or of another size than the module's.

    Args:
        class_names: The module's classes; empty where unknown, mere numbers where only their number is.
        image_size: The module's image side in pixels, if it has one.
        data_names: The data's classes; empty where unknown.
        data_size: The data's image side in pixels, where known.

    Raises:
        ConfigurationError: If they differ.
    """
    own, told = tuple(class_names), tuple(data_names)
    comparable = numbered(len(told)) if own == numbered(len(own)) else told
    if own and told and own != comparable:
        raise ConfigurationError(
            f"The module has {len(own)} classes ({', '.join(own)}), the data {len(told)} ({', '.join(told)}). Give "
            "both the same classes in the same order: --data.classes on the data, or leave the module's "
            "num_classes and class_names out."
        )
    if data_size is not None and image_size not in (None, data_size):
        raise ConfigurationError(
            f"The module was built for images of {image_size} px, but the data yields {data_size} px. Give the data "
            "the module's image_size, or leave the module's out."
        )
