"""No Trainer at all: EAC in a plain PyTorch loop, through ``compute_loss`` and ``configure_optimizers``.

A module that knows its classes is an ``nn.Module`` like any other. Run it with

    python examples/plain_loop.py
"""

from pathlib import Path

import torch

from eac_lightning import EACModule, SyntheticFERDataModule


def main(root: Path = Path("runs/examples"), epochs: int = 6, faces: int = 1200) -> None:
    torch.manual_seed(0)
    data = SyntheticFERDataModule(
        root / "faces", count=faces, size=48, image_size=48, batch_size=16, classes=["happiness", "surprise"]
    )
    data.prepare_data()  # draws the faces, unless they are there
    module = EACModule(class_names=list(data.class_names), backbone="resnet8", consistency_weight=1.0, lr=2e-3)
    (optimizer,), (schedule,) = module.configure_optimizers()

    batches = data.train_dataloader()
    for epoch in range(epochs):
        batches.sampler.set_epoch(epoch)  # another order in every epoch
        module.train()
        losses = []
        for batch in batches:
            output = module.compute_loss(batch)  # the loss; beside it logits, and both terms of the loss as logs
            optimizer.zero_grad()
            output.loss.backward()
            optimizer.step()
            module.remember(batch, output)  # ELRModule and SCNModule keep something of each face; EAC keeps nothing
            losses.append(output.loss.item())
        schedule.step()

        module.eval()
        with torch.no_grad():
            right = torch.cat([module(batch["image"]).argmax(1) == batch["label"] for batch in data.val_dataloader()])
        mean = sum(losses) / len(losses)
        print(f"epoch {epoch}: loss {mean:.3f}, validation accuracy {right.float().mean():.1%}", flush=True)

    weights = root / "plain_loop" / "weights.pt"
    weights.parent.mkdir(parents=True, exist_ok=True)
    torch.save(module.state_dict(), weights)
    print(f"Wrote {weights}")


if __name__ == "__main__":
    main()
