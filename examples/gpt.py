"""Train a small GPT to spell the list of chemical elements, 64 characters at a time.

On a rectangle of a few PEs, so many characters do not fit a launch: they take several.
"""

import torch
from characters import ALPHABET, NAMES
from torch import nn
from torch.nn import functional as F

CONTEXT, FEATURES, HEADS, LAYERS = 64, 16, 2, 2


class Attention(nn.Module):
    """Each character looks at those before it."""

    def __init__(self):
        super().__init__()
        self.parts = nn.Linear(FEATURES, 3 * FEATURES)
        self.out = nn.Linear(FEATURES, FEATURES)

    def forward(self, rows):
        """Return what each character finds in the ones up to itself."""
        batch, length, _ = rows.shape
        parts = self.parts(rows).split(FEATURES, dim=2)
        query, key, value = (part.view(batch, length, HEADS, -1).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, FEATURES))


class Layer(nn.Module):
    """Attention and a perceptron, each added to what it reads."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.LayerNorm(FEATURES), nn.LayerNorm(FEATURES)
        self.attention = Attention()
        self.perceptron = nn.Sequential(
            nn.Linear(FEATURES, 4 * FEATURES), nn.GELU(), nn.Linear(4 * FEATURES, FEATURES)
        )

    def forward(self, rows):
        """Return the rows of the next layer."""
        rows = rows + self.attention(self.first(rows))
        return rows + self.perceptron(self.second(rows))


class Gpt(nn.Module):
    """It takes the loss of the characters that follow."""

    def __init__(self):
        super().__init__()
        self.characters = nn.Embedding(len(ALPHABET), FEATURES)
        self.positions = nn.Embedding(CONTEXT, FEATURES)
        self.layers = nn.Sequential(*(Layer() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(FEATURES)
        self.head = nn.Linear(FEATURES, len(ALPHABET), bias=False)

    def forward(self, characters, targets):
        """Return the mean loss of all characters."""
        places = torch.arange(characters.shape[1])
        rows = self.layers(self.characters(characters) + self.positions(places))
        logits = self.head(self.norm(rows))
        return F.cross_entropy(logits.view(-1, len(ALPHABET)), targets.view(-1))


def main(steps=3):
    """Train with AdamW, and print the loss of every step."""
    torch.manual_seed(0)
    text = torch.tensor([ALPHABET.index(c) for c in ".".join(NAMES)])
    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for step in range(steps):
        first = int(torch.randint(len(text) - CONTEXT, ()))
        part = text[first : first + CONTEXT + 1].unsqueeze(0)
        optimizer.zero_grad()
        loss = model(part[:, :-1], part[:, 1:])
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
