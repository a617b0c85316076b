"""What small ViTs of the other benchmarks begin from: a face-recognition network's feature map, learnt without labels.

    python benchmarks/vit_start.py --root FER2013 --weights mobilefacenet_ms1m.pt --out vit_tiny_faces.safetensors

From random weights a ViT answers with the commonest class for its first thousand steps on FER2013, which is most of
what two cores can pay for. Here it learns, from the training split's pictures and none of their labels, to give
MobileFaceNet's map (of faces at 112 px, each channel standardised) through one linear layer, which is thrown away.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, mse_loss

from eac_lightning import FERDataModule, create_backbone
from eac_lightning.models.teacher import FrozenTeacher

SIZE, BATCH, LR, WARMUP = 48, 64, 1e-3, 200


def targets(weights: Path, images: Tensor, side: int) -> Tensor:
    """Return (N, C, side, side) half-precision answers of the teacher, standardised, without its dead channels."""
    teacher = FrozenTeacher(create_backbone("mobilefacenet", str(weights)))
    answers = []
    with torch.autocast("cpu", torch.bfloat16):
        for part in images.split(BATCH):
            answer = teacher(part.expand(-1, 3, -1, -1) / 255).float()
            answers.append(interpolate(answer, (side, side), mode="bilinear", antialias=True).half())
    answer = torch.cat(answers)
    mean, std = (torch.stack([f(channel.float()) for channel in answer.unbind(1)]) for f in (torch.mean, torch.std))
    alive = std > 1e-3
    return (answer[:, alive] - mean[alive, None, None].half()) / std[alive, None, None].half()


def learn(arguments: argparse.Namespace) -> None:
    """Train, and write the network's weights under timm's names."""
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    dataset = FERDataModule(arguments.root, "fer2013", image_size=SIZE).dataset("train")
    images = dataset[range(len(dataset))]["image"][:, :1]
    options = {"patch_size": arguments.patch_size, "depth": arguments.depth}
    backbone = create_backbone(arguments.backbone, None, SIZE, options)
    started = time.perf_counter()
    answers = targets(arguments.weights, images, SIZE // arguments.patch_size)
    print(f"{len(images)} faces, {answers.shape[1]} channels, {time.perf_counter() - started:.0f} s", flush=True)
    head = nn.Conv2d(backbone.num_features, answers.shape[1], 1)
    parameters = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LR, weight_decay=0.05, fused=True)
    steps = arguments.epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, step / WARMUP) * (1 + math.cos(math.pi * step / steps)) / 2
    )
    for epoch in range(arguments.epochs):
        losses = []
        for index in torch.randperm(len(images))[: steps // arguments.epochs * BATCH].split(BATCH):
            image, answer = images[index].float() / 255 * 2 - 1, answers[index].float()
            if torch.rand(()) < 0.5:
                image, answer = image.flip(-1), answer.flip(-1)
            with torch.autocast("cpu", torch.bfloat16):
                said = head(backbone.forward_features(image.expand(-1, 3, -1, -1)))
            loss = mse_loss(said.float(), answer)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(epoch, f"{sum(losses) / len(losses):.4f}", f"{time.perf_counter() - started:.0f} s", flush=True)
        save_file(backbone.network.state_dict(), arguments.out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="FER2013: its CSV or class folders")
    parser.add_argument("--weights", type=Path, required=True, help="MobileFaceNet's weights")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--backbone", default="timm/vit_tiny_patch16_224")
    parser.add_argument("--patch-size", type=int, default=8)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    learn(parser.parse_args())


if __name__ == "__main__":
    main()
