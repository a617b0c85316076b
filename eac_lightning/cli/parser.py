"""The command line of every command: names, arguments, help. Nothing here imports torch."""

import argparse
from pathlib import Path

from eac_lightning import __version__

TRAINING_COMMANDS = {
    "fit": "train a recipe's module on its data",
    "validate": "figures of a checkpoint on the validation split",
    "test": "figures of a checkpoint on the test split",
    "predict": "a checkpoint's probabilities for every face",
    "compare": "train a recipe's module beside plain cross-entropy: same data, noise draw and start",
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command; those that train only show their names here."""
    parser = argparse.ArgumentParser(
        prog="eac",
        description="Facial expression recognition that withstands wrong labels.",
        epilog="`eac fit -c quickstart` trains on synthetic faces; `eac recipes` lists what else there is.",
    )
    parser.add_argument("--version", action="version", version=f"eac-lightning {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, text in TRAINING_COMMANDS.items():
        commands.add_parser(name, help=f"{text} (-c RECIPE [-c OVERLAY] [--data.root DIR] [--any.option value])")
    _add_recipes(commands.add_parser("recipes", help="list the bundled recipes, or print one"))
    _add_data(
        commands.add_parser("data", help="what is in a folder: layout, classes, splits, broken files, duplicates")
    )
    _add_pack(commands.add_parser("data pack", help="write a data set as shards, for more faces than files can be"))
    _add_noise(commands.add_parser("noise", help="write a noisy label file that can be shared and replayed"))
    _add_mixing(commands.add_parser("mixing", help="what each mixing augmentation makes of faces, as a picture"))
    _add_synth(commands.add_parser("synth", help="write a data set of synthetic faces with known labels"))
    _add_faces(commands.add_parser("faces", help="detect, align and cut out the faces of photographs"))
    _add_cam(commands.add_parser("cam", help="draw class activation maps of pictures"))
    _add_audit(commands.add_parser("audit", help="which training labels are suspect: table, figures, HTML gallery"))
    _add_weights(commands.add_parser("weights", help="what each backbone can begin from; convert files of weights"))
    _add_calibrate(commands.add_parser("calibrate", help="store with a checkpoint how far to trust its answers"))
    _add_infer(commands.add_parser("infer", help="photographs to faces to expressions: JSON, CSV, annotated pictures"))
    _add_ood(commands.add_parser("ood", help="how well a network tells pictures that are not like its training data"))
    commands.add_parser("doctor", help="versions, devices, known bad combinations").set_defaults(module="doctor")
    return parser


def _add_recipes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="the recipe to print")
    parser.set_defaults(module="list_recipes")


def _add_layout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", type=Path, help="the data set's folder, or its table")
    parser.add_argument("--layout", default="auto", help="folder, table, ferplus … (docs/datasets), or auto")
    parser.add_argument("--classes", nargs="+", help="which classes, in which order")
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="ROLE=NAME", help="a table's columns: label=emotion …"
    )
    parser.add_argument("--votes", default="majority", help="ferplus: majority, above_half, soft … (default: majority)")
    parser.add_argument("--angles", nargs="+", default=("S",), help="kdef: FL HL S HR FR (default: S)")
    parser.add_argument("--allow-outside", action="store_true", help="read what links and tables name outside of it")
    parser.add_argument("--val-fraction", type=float, default=0.1, help="split off for validation (default: 0.1)")
    parser.add_argument("--test-fraction", type=float, default=0.1, help="split off for testing (default: 0.1)")
    parser.add_argument("--seed", type=int, default=0, help="of the split where the data brings none (default: 0)")


def _add_data(parser: argparse.ArgumentParser) -> None:
    _add_layout(parser)
    parser.add_argument(
        "--near",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="look for pictures that are nearly the same, too; slow beyond 100,000 (default: yes)",
    )
    parser.set_defaults(module="inspect_data")


def _add_pack(parser: argparse.ArgumentParser) -> None:
    _add_layout(parser)
    parser.description = "Write a data set as shards. Started again, a run that was interrupted goes on."
    parser.epilog = "`eac data ./pack` looks into a folder that is called pack."
    parser.add_argument("out", type=Path, help="the folder to make, or to go on with")
    parser.add_argument("--size", type=int, help="side in pixels to resize to (default: the files as they are)")
    parser.add_argument(
        "--quality", type=int, help="of JPEG, 1 to 95, for what is encoded anew (default: PNG, without loss)"
    )
    parser.add_argument("--shard-mb", type=float, default=64, help="megabytes of a shard, up to 2000 (default: 64)")
    parser.add_argument(
        "--on-bad-image", default="error", choices=("error", "skip"), help="pictures that cannot be read (error)"
    )
    parser.set_defaults(module="pack_shards")


def _add_noise(parser: argparse.ArgumentParser) -> None:
    _add_layout(parser)
    parser.add_argument("--rate", type=float, required=True, help="share of the training labels to change, 0 to 1")
    parser.add_argument(
        "--kind", default="symmetric", choices=("symmetric", "pair", "instance"), help="default: symmetric"
    )
    parser.add_argument(
        "--probabilities", help="instance: table with path and p_<class>, such as predictions.csv (default: the votes)"
    )
    parser.add_argument("--exact", action="store_true", help="change exactly that share (symmetric only)")
    parser.add_argument("--out", type=Path, default=Path("noise.csv"), help="the file to write (default: noise.csv)")
    parser.set_defaults(module="write_noise")


def _add_mixing(parser: argparse.ArgumentParser) -> None:
    _add_layout(parser)
    parser.description = (
        "Draw training faces plain and under cutout, mixup, cutmix and fmix, with the shares of their labels. --seed "
        "also draws the faces and what is done to them."
    )
    parser.add_argument("--out", type=Path, default=Path("mixing.png"), help="the file to write (default: mixing.png)")
    parser.add_argument("--faces", type=int, default=6, help="number of faces (default: 6)")
    parser.add_argument("--size", type=int, default=64, help="side in pixels to resize to (default: 64)")
    parser.set_defaults(module="draw_mixing")


def _add_synth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="the folder to make")
    parser.add_argument("--count", type=int, default=2000, help="number of faces (default: 2000)")
    parser.add_argument("--size", type=int, default=64, help="side in pixels, 48 to 512 (default: 64)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes (default: 0)")
    parser.add_argument(
        "--variation", type=float, default=1.0, help="spread of pose, light, intensity: 0 to 1 (default: 1)"
    )
    parser.add_argument("--classes", nargs="+", help="which expressions (default: all eight)")
    parser.set_defaults(module="write_synthetic")


def _add_faces(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="IN", help="the folder of photographs; nothing in it is changed")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to make, or to go on with")
    parser.add_argument(
        "--align", default="five_point", choices=("five_point", "box"), help="how faces are cut out (five_point)"
    )
    parser.add_argument("--size", type=int, default=112, help="side of the crops in pixels (default: 112)")
    parser.add_argument(
        "--margin", type=float, default=0.2, help="box: share of its longer side added on each side (default: 0.2)"
    )
    parser.add_argument(
        "--faces",
        default="largest",
        choices=("largest", "all", "one"),
        help="which faces; `one`: none of a photograph that has several (default: largest)",
    )
    parser.add_argument("--min-size", type=int, default=40, help="pixels of the smallest face (default: 40)")
    parser.add_argument(
        "--min-confidence", type=float, default=0.9, help="of the detector: that it is a face, 0 to 1 (default: 0.9)"
    )
    parser.add_argument("--batch-size", type=int, default=16, help="photographs in memory at a time (default: 16)")
    parser.add_argument("--device", default="cpu", help="where the detector runs (default: cpu)")
    parser.add_argument("--path-column", default="path", help="of a table in IN: the photographs (default: path)")
    parser.set_defaults(module="extract_faces")


def _add_cam(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="last.ckpt or best.ckpt of a run, or its folder")
    parser.add_argument("images", type=Path, nargs="+", help="pictures of faces, or folders of them")
    parser.add_argument(
        "--beside",
        type=Path,
        nargs="+",
        metavar="CKPT",
        help="further checkpoints of the same classes (or TITLE=CKPT): one picture, a row a face, a column each",
    )
    parser.add_argument("--out", type=Path, default=Path("cams"), help="folder of the panels (default: cams)")
    parser.add_argument(
        "--import", dest="imports", action="append", default=[], metavar="MODULE", help="of your own method"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="draw at most N of the pictures, from all over them")
    parser.add_argument("--method", default="cam", help="cam, or grad_cam, layer_cam (extra `cam`)")
    parser.set_defaults(module="draw_cam")


def _add_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="RUN|CKPT", help="a run's folder, or a checkpoint in it")
    parser.add_argument("--root", type=Path, help="where the faces lie (default: where the run was trained on them)")
    parser.add_argument("--out", type=Path, help="folder to write (default: the run's, or folds/ or cleanlab/ in it)")
    parser.add_argument(
        "--score",
        help="what ranks: p_given, loss, margin, aum, disagreements, consistency, agreement, combined (combined)",
    )
    parser.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="train the run's module K times, each without a part of the labels, and ask it about that part",
    )
    parser.add_argument(
        "--method",
        default="network",
        choices=("network", "cleanlab"),
        help="who judges: scores of the network, or cleanlab (extra `audit`; with --folds)",
    )
    parser.add_argument(
        "--quality",
        choices=("self_confidence", "normalized_margin", "confidence_weighted_entropy"),
        help="cleanlab: its label quality (default: self_confidence)",
    )
    parser.add_argument("--again", action="store_true", help="ask the network, even if training has kept its answers")
    parser.add_argument("--force-mixing", action="store_true", help="audit even a run that was trained on mixed labels")
    parser.add_argument(
        "--gallery", type=int, default=5000, metavar="N", help="most suspects in the gallery; 0: none (default: 5000)"
    )
    parser.add_argument("--device", default="cpu", help="such as cuda (default: cpu)")
    parser.add_argument(
        "--import", dest="imports", action="append", default=[], metavar="MODULE", help="of your own method"
    )
    parser.set_defaults(module="audit")


def _add_weights(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="published weights: name, input, licence, where from, and whether they are here")
    convert = actions.add_parser("convert", help="write any file of weights as .safetensors, executing nothing")
    convert.add_argument("source", type=Path, help="a torch file or checkpoint, a pickle of arrays, or .safetensors")
    convert.add_argument("target", type=Path, help="the .safetensors file to write")
    convert.add_argument("--force", action="store_true", help="replace the file if it exists")
    parser.set_defaults(module="weights")


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Fit temperature and out-of-distribution scores of a trained network, as CalibrationCallback and OODCallback "
        "do when training ends, and write a copy of its checkpoint with them."
    )
    parser.add_argument("checkpoint", type=Path, help="last.ckpt or best.ckpt of a run, or its folder")
    parser.add_argument("--root", type=Path, help="where the faces lie (default: where the run was trained on them)")
    parser.add_argument("--layout", default="auto", help="of --root: folder, table, ferplus … (default: auto)")
    parser.add_argument("--accuracy", type=float, help="wanted of the faces that are answered: the others are `unsure`")
    parser.add_argument(
        "--score",
        default="relative_mahalanobis",
        help="what decides: relative_mahalanobis, mahalanobis, knn, max_softmax, energy (relative_mahalanobis)",
    )
    parser.add_argument("--shrinkage", type=float, default=0.01, help="of the covariances, 0 to 1 (default: 0.01)")
    parser.add_argument("--out", type=Path, help="the file to write (default: calibrated.ckpt beside the checkpoint)")
    parser.add_argument("--device", default="cpu", help="such as cuda (default: cpu)")
    parser.add_argument(
        "--import", dest="imports", action="append", default=[], metavar="MODULE", help="of your own method"
    )
    parser.set_defaults(module="calibrate")


def _add_infer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="last.ckpt or best.ckpt of a run, or its folder")
    parser.add_argument("images", type=Path, nargs="+", help="photographs, or folders of them")
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="folder to write (default: predictions)")
    parser.add_argument(
        "--min-confidence",
        type=float,
        help="of the expression: below it a face is `unsure`, 0 to 1 (default: the checkpoint's, else 0)",
    )
    parser.add_argument(
        "--keep-unlike", action="store_true", help="name the expression also of faces not like the training data"
    )
    parser.add_argument(
        "--min-face-confidence",
        type=float,
        default=0.9,
        help="of the detector: below it nothing is a face, 0 to 1 (default: 0.9)",
    )
    parser.add_argument("--min-size", type=int, default=20, help="pixels of the smallest face (default: 20)")
    parser.add_argument("--faces", default="all", choices=("all", "largest"), help="of a photograph (default: all)")
    cutting = parser.add_mutually_exclusive_group()
    cutting.add_argument("--crops", action="store_true", help="the pictures are crops of faces already")
    cutting.add_argument(
        "--align", choices=("five_point", "box"), help="how to cut faces out (default: as the checkpoint says)"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="pictures and faces at once (default: 32)")
    parser.add_argument("--device", default="cpu", help="such as cuda (default: cpu)")
    parser.add_argument("--no-pictures", action="store_true", help="write no annotated pictures")
    parser.add_argument(
        "--import", dest="imports", action="append", default=[], metavar="MODULE", help="of your own method"
    )
    parser.set_defaults(module="infer")


def _add_ood(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Tell pictures of one folder, crops of faces like the training data, from those of another. The scores compare "
        "with statistics that OODCallback left in the checkpoint, or with those of --fit."
    )
    parser.add_argument("checkpoint", type=Path, help="last.ckpt or best.ckpt of a run, or its folder")
    parser.add_argument("inside", type=Path, metavar="IN", help="folder of faces like the training data, such as test")
    parser.add_argument("outside", type=Path, metavar="OUT", help="folder of pictures that are to be told from them")
    parser.add_argument("--out", type=Path, default=Path("ood"), help="folder to write (default: ood)")
    parser.add_argument(
        "--fit", type=Path, metavar="ROOT", help="take the statistics of this data set's training faces"
    )
    parser.add_argument("--layout", default="auto", help="of --fit: folder, table, ferplus … (default: auto)")
    parser.add_argument("--seed", type=int, default=0, help="of --fit's split where the data bring none (default: 0)")
    parser.add_argument("--shrinkage", type=float, default=0.01, help="of --fit's covariances, 0 to 1 (default: 0.01)")
    parser.add_argument("--limit", type=int, metavar="N", help="the most pictures of each folder, from all over it")
    parser.add_argument("--batch-size", type=int, default=32, help="pictures at once (default: 32)")
    parser.add_argument("--device", default="cpu", help="such as cuda (default: cpu)")
    parser.add_argument(
        "--import", dest="imports", action="append", default=[], metavar="MODULE", help="of your own method"
    )
    parser.set_defaults(module="ood")
