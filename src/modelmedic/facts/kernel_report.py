"""Let the target's torch compute on each graphics card and print what came of it, as JSON.

This text, after that of `import_report` without its last lines, is run by the *target's*
interpreter, never imported by ours. It must run on Python 3.6: no f-strings, no new annotations.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import importlib
    import json
    import os
    import sys
    from typing import Any

    from modelmedic.facts.import_report import chain, link, version_of

SIZE = 64  # of the matrices; also tokens and width of one attention head
TOLERANCE = 1.0  # of sums of 64 products of ones and halves, exact in bf16 up to 256


def kernels(nonce: str) -> None:
    """Write the report between two lines that nothing else prints."""
    try:
        report = of_torch(importlib.import_module("torch"))
    except BaseException as error:  # noqa: BLE001 - told to whoever asked
        report = {"errors": [link(each) for each in chain(error)]}
    text = "\n<report " + nonce + ">" + json.dumps(report) + "</report " + nonce + ">\n"
    sys.stdout.flush()
    sys.stderr.flush()
    data = text.encode("ascii")
    while data:
        data = data[os.write(1, data) :]
    os._exit(0)  # a broken driver can hang at exit


def of_torch(torch: "Any") -> "dict[str, object]":
    """Return what this torch is, and for each card what it computed."""
    cuda = torch.cuda
    is_available = bool(cuda.is_available())
    count = int(cuda.device_count()) if is_available else 0
    return {
        "torch": version_of(torch),
        "cuda": str(getattr(torch.version, "cuda", None) or ""),
        "is_available": is_available,
        "architectures": [str(each) for each in cuda.get_arch_list()] if is_available else [],
        "cards": [of_card(torch, index) for index in range(min(count, 64))],
    }


def of_card(torch: "Any", index: int) -> "dict[str, object]":
    """Return what one card is and how each step of work on it ended: "" when well."""
    place = "cuda:" + str(index)
    card = {"index": index, "steps": {}}  # type: dict[str, Any]
    try:
        card["name"] = str(torch.cuda.get_device_name(index))
        card["capability"] = [int(each) for each in torch.cuda.get_device_capability(index)]
    except Exception as error:  # noqa: BLE001 - told to whoever asked
        card["steps"]["open"] = words(error)
        return card
    for name, step in (("element", add), ("matmul", multiply), ("flash_attn", attend)):
        try:
            card["steps"][name] = step(torch, place)
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            card["steps"][name] = words(error)
            if name == "element":
                break  # after a failed kernel every later call fails with the same error
    return card


def add(torch: "Any", place: str) -> str:
    """Run the smallest kernel there is."""
    value = float((torch.ones(1, device=place) + 1).item())
    return "" if value == 2.0 else "1 + 1 is " + str(value)  # noqa: PLR2004


def multiply(torch: "Any", place: str) -> str:
    """Multiply two matrices in bf16, the work that the model consists of."""
    ones = torch.ones(SIZE, SIZE, device=place, dtype=torch.bfloat16)
    product = torch.matmul(ones, ones * 0.5).float()
    least, most = float(product.min().item()), float(product.max().item())
    is_right = abs(least - SIZE / 2) <= TOLERANCE and abs(most - SIZE / 2) <= TOLERANCE
    return "" if is_right else "64 times 0.5 is between " + str(least) + " and " + str(most)


def attend(torch: "Any", place: str) -> "str | None":
    """Run flash_attn on one head; None when it is not installed."""
    try:
        flash = importlib.import_module("flash_attn")
    except ImportError:
        return None  # that it cannot be imported is a finding of its own
    shape = (1, SIZE, 1, SIZE)
    ones = torch.ones(*shape, device=place, dtype=torch.bfloat16)
    value = float(flash.flash_attn_func(ones, ones, ones).float().max().item())
    return "" if abs(value - 1.0) <= 0.1 else "attention over ones is " + str(value)  # noqa: PLR2004


def words(error: BaseException) -> str:
    """Return an error as one text, never empty."""
    return (type(error).__name__ + ": " + str(error))[:1000]


if __name__ == "__main__":
    kernels(sys.argv[1])
