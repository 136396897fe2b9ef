"""Train a small network to spell names of chemical elements, character by character.

It sees the three characters before the one that it predicts, as makemore's perceptron does.
"""

import torch
from torch import nn
from torch.nn import functional as F

ELEMENTS = """
hydrogen helium lithium beryllium boron carbon nitrogen oxygen fluorine neon sodium magnesium
aluminium silicon phosphorus sulfur chlorine argon potassium calcium scandium titanium vanadium
chromium manganese iron cobalt nickel copper zinc gallium germanium arsenic selenium bromine krypton
rubidium strontium yttrium zirconium niobium molybdenum technetium ruthenium rhodium palladium
silver cadmium indium tin antimony tellurium iodine xenon caesium barium lanthanum cerium
praseodymium neodymium promethium samarium europium gadolinium terbium dysprosium holmium erbium
thulium ytterbium lutetium hafnium tantalum tungsten rhenium osmium iridium platinum gold mercury
thallium lead bismuth polonium astatine radon francium radium actinium thorium protactinium uranium
neptunium plutonium americium curium berkelium californium einsteinium fermium mendelevium nobelium
lawrencium rutherfordium dubnium seaborgium bohrium hassium meitnerium darmstadtium roentgenium
copernicium nihonium flerovium moscovium livermorium tennessine oganesson
"""
NAMES = ELEMENTS.split()
ALPHABET = "." + "".join(sorted(set("".join(NAMES))))  # a dot begins and ends a name
CONTEXT = 3
LONGEST = 16


def encode(contexts):
    """Return strings of CONTEXT characters as rows of ones and zeros."""
    places = torch.tensor([[ALPHABET.index(c) for c in context] for context in contexts])
    return F.one_hot(places, len(ALPHABET)).flatten(1).float()


def make_pairs():
    """Return what comes before each character of each name, and the character's number."""
    texts = ["." * CONTEXT + name + "." for name in NAMES]
    places = [(text, i) for text in texts for i in range(CONTEXT, len(text))]
    rows = encode(text[i - CONTEXT : i] for text, i in places)
    return rows, torch.tensor([ALPHABET.index(text[i]) for text, i in places])


def train(model, steps):
    """Fit `model` with AdamW; return the loss of every step."""
    rows, targets = make_pairs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        batch = torch.randint(len(rows), (32,))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(rows[batch]), targets[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def spell(model):
    """Return a name that `model` makes up."""
    text = "." * CONTEXT
    while len(text) < LONGEST and not (len(text) > CONTEXT and text.endswith(".")):
        shares = F.softmax(model(encode([text[-CONTEXT:]])), dim=-1)
        text += ALPHABET[torch.multinomial(shares[0], 1)]
    return text.strip(".")


def main():
    """Train, spell, print."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(CONTEXT * len(ALPHABET), 64), nn.Tanh(), nn.Linear(64, len(ALPHABET))
    )
    losses = train(model, steps=300)
    first, last = (sum(part) / 20 for part in (losses[:20], losses[-20:]))
    print(f"mean loss of the first 20 steps {first:.3f}, of the last 20 steps {last:.3f}")
    print(*(spell(model) for _ in range(8)))


if __name__ == "__main__":
    main()
