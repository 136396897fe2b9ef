"""Train a small network on a GPU with mixed precision and time its inference there."""

import io

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def load_data():
    """Return the training and the held-out set; pixels scaled to [0, 1]."""
    digits = load_digits()
    images = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, random_state=0, stratify=labels
    )
    return TensorDataset(train_images, train_labels), TensorDataset(test_images, test_labels)


def train(model, dataset, *, epochs):
    """Fit `model` to `dataset` with Adam in mixed precision."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cuda")
    model.train()
    for _ in range(epochs):
        for images, labels in DataLoader(dataset, batch_size=64, shuffle=True, pin_memory=True):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", dtype=torch.float16):
                logits = model(images.cuda(non_blocking=True))
                loss = F.cross_entropy(logits, labels.cuda(non_blocking=True))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()


@torch.inference_mode()
def evaluate(model, dataset):
    """Return the fraction of `dataset` that `model` recognises, and the time in milliseconds."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    correct = torch.zeros((), dtype=torch.int64, device="cuda")
    start.record()
    for images, labels in DataLoader(dataset, batch_size=64, pin_memory=True):
        predicted = model(images.to("cuda", non_blocking=True)).argmax(dim=1)
        correct += (predicted == labels.to("cuda", non_blocking=True)).sum()
    end.record()
    torch.cuda.synchronize()
    return correct.item() / len(dataset), start.elapsed_time(end)


def main():
    """Train, save, load, evaluate, print."""
    torch.manual_seed(0)
    train_set, test_set = load_data()
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).to("cuda")
    train(model, train_set, epochs=20)

    checkpoint = io.BytesIO()
    torch.save(model.state_dict(), checkpoint)
    checkpoint.seek(0)
    model.load_state_dict(torch.load(checkpoint, map_location="cuda"))
    assert next(model.parameters()).device.type == "cuda"

    accuracy, milliseconds = evaluate(torch.compile(model.eval()), test_set)
    print(f"accuracy on {len(test_set)} held-out digits: {accuracy:.1%}")
    print(f"inference took {milliseconds:.3f} ms on {torch.cuda.get_device_name()}")


if __name__ == "__main__":
    main()
