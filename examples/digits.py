"""Train a small network on scikit-learn's handwritten digits and measure its accuracy."""

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
    """Fit `model` to `dataset` with Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for _ in range(epochs):
        for images, labels in DataLoader(dataset, batch_size=64, shuffle=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()


@torch.no_grad()
def evaluate(model, dataset):
    """Return the fraction of `dataset` that `model` recognises."""
    model.eval()
    correct = 0
    for images, labels in DataLoader(dataset, batch_size=64):
        correct += (model(images).argmax(dim=1) == labels).sum().item()
    return correct / len(dataset)


def main():
    """Train, evaluate, print."""
    torch.manual_seed(0)
    train_set, test_set = load_data()
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    train(model, train_set, epochs=20)
    print(f"accuracy on {len(test_set)} held-out digits: {evaluate(model, test_set):.1%}")


if __name__ == "__main__":
    main()
