"""``eac audit``: which labels a run was trained on are suspect."""

import json
import logging
from argparse import Namespace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eac_lightning._files import check_out_folder
from eac_lightning._lightning import L
from eac_lightning.audit.confident_learning import QUALITIES, check_installed, cleanlab_opinion
from eac_lightning.audit.folds import audit_folds
from eac_lightning.audit.observe import observe, prepared
from eac_lightning.audit.record import AuditRecord
from eac_lightning.audit.run import FinishedRun
from eac_lightning.audit.table import SCORES, TABLE, Audit, audit_record, make_table, read_record, write_audit
from eac_lightning.callbacks.label_audit import LabelAuditCallback, check_labels_are_whole
from eac_lightning.callbacks.report import RESULTS
from eac_lightning.cli.training import configure_logging, import_module_of_user
from eac_lightning.data.annotations import Annotations
from eac_lightning.data.datamodule import FERDataModule
from eac_lightning.errors import CheckpointError, ConfigurationError, DataError, unknown_name
from eac_lightning.faces.detection import check_device
from eac_lightning.labels.estimate import NoiseRate
from eac_lightning.labels.gallery import suspects, write_gallery
from eac_lightning.models.weights import read_checkpoint
from eac_lightning.modules.agreement import check_agreement, told_class_names, told_image_size
from eac_lightning.modules.base import FERModule
from eac_lightning.modules.loading import load_module
from eac_lightning.runs.folder import CONFIG

GALLERY = "gallery.html"
CLASSES_SHOWN = 10
MEMORIZED = 0.95
"""Share of its own labels from which on a network may be suspected of having learnt them by heart."""

logger = logging.getLogger("eac_lightning")


def run(arguments: Namespace) -> None:
    """Write table, figures and gallery, and print the estimate and the worst classes.

    Raises:
        EACError: If checkpoint and data do not fit, or cannot be read.
    """
    configure_logging()
    for name in arguments.imports:
        import_module_of_user(name)
    _check(arguments)
    path: Path = arguments.checkpoint
    if not path.exists():
        raise CheckpointError(f"Expected a run's folder or a checkpoint at {path}, but there is nothing.")
    folder, checkpoint = (path, path / "last.ckpt") if path.is_dir() else (path.parent, path)
    out: Path = arguments.out or folder / _place(arguments)
    finished = FinishedRun(folder, arguments.root) if (folder / CONFIG).is_file() or not arguments.root else None
    module = load_module(checkpoint).to(arguments.device)
    if not arguments.force_mixing:
        check_labels_are_whole(module, "An audit", "--force-mixing")
    data = finished.data() if finished else FERDataModule(arguments.root, image_size=module.image_size or 224)
    data.prepare_data()
    _check_place(data)
    check_agreement(module.class_names, module.image_size, told_class_names(data), told_image_size(data))
    record, answers = _record(arguments, checkpoint, finished, module, data)
    found = getattr(data, "annotations", None)
    annotations = found if isinstance(found, Annotations) else None
    if arguments.method == "cleanlab":
        audit = _cleanlab_audit(record, module.class_names, annotations, arguments)
    else:
        audit = audit_record(record, module.class_names, annotations, arguments.score or "combined")
    audit.settings.update(
        checkpoint=str(checkpoint), method=arguments.method, folds=arguments.folds, answers=answers,
        epochs=list(record.epochs) if answers == "training" else None,
    )  # fmt: skip
    write_audit(out, audit)
    console = Console()
    _show(console, audit)
    if arguments.folds is None:
        _show_limits(console, audit, folder)
    _say(console, f"table: {out / TABLE}")
    if not arguments.gallery:
        return
    if (audit.table["path"] == "").any() or not hasattr(data, "audit_dataloader"):
        logger.warning(
            "no gallery: the data give no audit_dataloader(), or no paths by which corrections name pictures"
        )
        return
    shown = _write_gallery(out / GALLERY, audit, module, data, arguments.gallery)
    all_of_them = int(audit.table["suspect"].sum())
    of = f" of {all_of_them}" if all_of_them > shown else ""
    _say(console, f"gallery of {shown}{of} suspects: {out / GALLERY}")
    if shown:
        _say(console, "Correct them there, save, and train again with --data.label_overrides corrections.csv")


def _check(arguments: Namespace) -> None:
    """Refuse what would fail only after the work."""
    if arguments.score is not None and arguments.score not in SCORES:
        raise unknown_name("score", arguments.score, SCORES)
    cleanlab = arguments.method == "cleanlab"
    if (arguments.score if cleanlab else arguments.quality) is not None:
        raise ConfigurationError("--score ranks for --method network, --quality for --method cleanlab; give the other.")
    if cleanlab:
        check_installed()
    if arguments.out is not None:
        check_out_folder(arguments.out)
    if arguments.folds is not None and arguments.folds < 2:
        raise ConfigurationError(f"Expected --folds to be at least 2, but got {arguments.folds}.")
    if arguments.gallery < 0:
        raise ConfigurationError(f"Expected --gallery to be at least 0 (no gallery), but got {arguments.gallery}.")
    check_device(arguments.device)


def _place(arguments: Namespace) -> str:
    """Return where in the run's folder an audit belongs: none replaces one of another kind."""
    return "cleanlab" if arguments.method == "cleanlab" else "folds" if arguments.folds else ""


def _check_place(data: L.LightningDataModule) -> None:
    """Refuse a run whose data have moved, in the words of this command."""
    root = getattr(data, "root", None)
    if isinstance(root, Path) and not root.exists():
        raise DataError(
            f"Expected the run's data set at {root.absolute()}, but there is nothing. Name its place: --root."
        )


def _record(
    arguments: Namespace,
    checkpoint: Path,
    finished: FinishedRun | None,
    module: FERModule,
    data: L.LightningDataModule,
) -> tuple[AuditRecord, str]:
    """Return what networks said of the labels, and which: of "folds", of "training"'s audits, or this "network" now."""
    if arguments.folds is not None:
        if finished is None:
            raise ConfigurationError(
                f"--folds trains the run's module anew, so it needs the run's {CONFIG} beside {checkpoint}."
            )
        # Folds that were trained by other settings are not those of this run.
        settings = blake2b((checkpoint.parent / CONFIG).read_bytes(), digest_size=4).hexdigest()
        kept_in = (arguments.out or checkpoint.parent) / "folds" / settings
        return audit_folds(finished, arguments.folds, kept_in), "folds"
    record = AuditRecord(module.num_classes)
    kept = _kept_by_training(checkpoint)
    if kept and not arguments.again and arguments.root is None:
        record.load_state_dict(kept)
        logger.info("taking the answers of the training's %d audits; --again asks the network anew", len(record.epochs))
        return record, "training"
    data.setup("fit")
    logger.info("asking the network about every training label")
    record.add(0, observe(module, prepared(data, module), mirror=True))
    return record, "network"


def _kept_by_training(checkpoint: Path) -> dict[str, Any]:
    """Return the state of the checkpoint's audit; empty if there was none."""
    callbacks: Any = read_checkpoint(checkpoint).get("callbacks", {})
    kept: dict[str, Any] = callbacks.get(LabelAuditCallback.__name__, {})
    none_yet = isinstance(kept, dict) and kept.get("epochs") == []
    return {} if none_yet else kept


def _cleanlab_audit(
    record: AuditRecord, class_names: tuple[str, ...], annotations: Annotations | None, arguments: Namespace
) -> Audit:
    if arguments.folds is None:
        logger.warning(
            "cleanlab wants probabilities of networks that have not seen the label; these have. Add --folds 5."
        )
    quality = arguments.quality or QUALITIES[0]
    evidence, probabilities = read_record(record)
    given = evidence["given"].to_numpy()
    score, suspect, transition = cleanlab_opinion(given, probabilities.astype(float), quality)
    table = make_table(evidence, probabilities, score, suspect, class_names, annotations)
    return Audit(table, class_names, NoiseRate(float(suspect.mean())), transition, {"score": quality})


def _show(console: Console, audit: Audit) -> None:
    low, high = audit.rate.low, audit.rate.high
    interval = f" ({low:.1%} to {high:.1%})" if low is not None and high is not None and low < high else ""
    _say(
        console,
        f"{len(audit.table)} labels, {int(audit.table['suspect'].sum())} of them suspect: an estimated "
        f"{audit.rate.rate:.1%}{interval} are wrong.",
    )
    table = Table("labelled as", title="Worst classes", title_justify="left")
    for title in ("labels", "suspect", "share", "mostly suggested instead"):
        table.add_column(title, justify="left" if title.startswith("mostly") else "right")
    suspected = audit.table[audit.table["suspect"]]
    for name, row in audit.per_class.sort_values("rate", ascending=False).head(CLASSES_SHOWN).iterrows():
        instead = suspected.loc[suspected["given"] == name, "suggested"].value_counts(normalize=True)
        named = ", ".join(f"{other} {part:.0%}" for other, part in instead.head(2).items() if part > 0)
        rate = f"{row['rate']:.1%}" if row["samples"] else ""
        table.add_row(escape(str(name)), str(int(row["samples"])), str(int(row["suspects"])), rate, escape(named))
    console.print(table)
    known = audit.figures().get("known", {})
    if "auroc" in known:
        _say(
            console,
            f"Known to be wrong: {known['noise_rate']:.1%}. AUROC {known['auroc']:.3f}, average precision "
            f"{known['average_precision']:.3f}; of the suspects {known['precision']:.1%} are wrong, and "
            f"{known['recall']:.1%} of the wrong are suspect.",
        )
    elif known:
        _say(console, f"Known to be wrong: {known['noise_rate']:.1%}, so there is nothing to tell apart.")


def _show_limits(console: Console, audit: Audit, folder: Path) -> None:
    """Say what the network can tell at all, where that is known."""
    report = folder / RESULTS
    fit = json.loads(report.read_text()).get("fit", {}) if report.is_file() else {}
    if "last" in fit:
        accuracy = fit["last"]["accuracy"]
        _say(
            console, f"The network's validation accuracy is {accuracy:.1%}; an audit can be no better than its network."
        )
    repeated = float((audit.table["margin"] > 0).mean())
    if repeated > MEMORIZED:
        _say(
            console,
            f"The network repeats {repeated:.1%} of these labels. If it has learnt wrong ones by heart, more are wrong "
            "than it says: ask networks that have not seen them, --folds 5, or train EAC.",
        )


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _write_gallery(path: Path, audit: Audit, module: FERModule, data: L.LightningDataModule, limit: int) -> int:
    """Write the gallery with the network's maps of the given label; return how many suspects it shows."""
    wanted = suspects(audit.table, limit)
    faces: dict[int, Any] = {}
    maps: dict[int, Any] = {}
    label = dict(zip(wanted["index"], wanted["given"].cat.codes, strict=True))
    data.setup("fit")
    for batch in prepared(data, module):
        unpacked = module.unpack(batch)
        rows = [row for row, index in enumerate(unpacked["index"].tolist()) if index in label]
        if rows:
            image = unpacked["image"][rows]
            with torch.no_grad():
                attention = module.attention_maps(image).float().cpu().numpy()
            pixels = (image * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
            for position, row in enumerate(rows):
                index = int(unpacked["index"][row])
                faces[index], maps[index] = pixels[position], attention[position, label[index]]
    return write_gallery(path, audit.table, module.class_names, faces.get, maps.get, limit=limit)
