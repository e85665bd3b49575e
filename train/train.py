"""Trains one model of the ladder: next-token loss weighted towards the answers.

    python3 train.py words-s tokenizer.json OUT_FOLDER --steps 1000

The length is given in steps (of --batch documents each), never in seconds, so that a run is
deterministic by its seed at a fixed thread count on one kind of processor. Resumes from
OUT_FOLDER/NAME.pt when that file is there.
"""

import argparse
import math
import os
import time

import torch
from torch.nn import functional as F

from bpe import Tokenizer
from data import Documents, micro_batches
from evaluate import greedy_accuracy
from model import Config, LanguageModel
from muon import optimizers

LADDER = {
    "words-s": Config(vocabulary=512, width=128, layers=2, heads=4, kv_heads=2, hidden=256),
    "words-m": Config(vocabulary=512, width=128, layers=5, heads=4, kv_heads=2, hidden=384),
    "words-l": Config(vocabulary=512, width=256, layers=6, heads=8, kv_heads=4, hidden=512),
}
WARMUP_STEPS = 50
FINAL_RATE = 0.02  # of the peak learning rate


def learning_rate(step, steps, peak):
    """Linear warmup, then a cosine down to FINAL_RATE of the peak."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return peak * min(1, (step + 1) / WARMUP_STEPS) * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


def accumulate(model, documents, pad, micro_batch, bfloat16):
    """Adds one step's gradient to the model; returns (mean answer loss, tokens seen)."""
    total_weight = sum(sum(weights) for _, weights in documents)
    answer_loss, answers, tokens = 0.0, 0, 0
    for inputs, targets, weights in micro_batches(documents, pad, micro_batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = model(inputs)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
        ((loss * weights.flatten()).sum() / total_weight).backward()
        answer = weights.flatten() == 1
        answer_loss += loss.detach()[answer].sum().item()
        answers += int(answer.sum())
        tokens += int((targets != pad).sum())
    return answer_loss / answers, tokens


def save(path, model, optimizer_list, progress):
    torch.save(
        {
            "config": vars(model.config),
            "weights": model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizer_list],
            "progress": progress,
        },
        path + ".new",
    )
    os.replace(path + ".new", path)  # an interrupted save never spoils the last good one


def restore(path, model, optimizer_list):
    """The progress that a checkpoint recorded, its weights and optimizers loaded; or a fresh one."""
    if not os.path.exists(path):
        return {"step": 0, "tokens": 0, "seconds": 0.0, "position": 0}
    checkpoint = torch.load(path)
    model.load_state_dict(checkpoint["weights"])
    for optimizer, state in zip(optimizer_list, checkpoint["optimizers"]):
        optimizer.load_state_dict(state)
    return checkpoint["progress"]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=LADDER)
    parser.add_argument("tokenizer")
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--until", type=int, help="stop at this step; a later run continues")
    parser.add_argument("--batch", type=int, default=48, help="documents a step")
    parser.add_argument("--micro-batch", type=int, default=12)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default="muon")
    parser.add_argument("--bfloat16", action="store_true", help="for processors with AVX512-BF16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = Tokenizer(args.tokenizer)
    model = LanguageModel(LADDER[args.name])
    optimizer_list = optimizers(model, args.optimizer, args.lr)
    path = os.path.join(args.folder, args.name + ".pt")
    progress = restore(path, model, optimizer_list)
    documents = Documents(tokenizer, progress["position"])
    print(f"{args.name}: {sum(p.numel() for p in model.parameters()):,} parameters; {vars(args)}")

    end = min(args.until or args.steps, args.steps)
    while progress["step"] < end:
        start = time.monotonic()
        for optimizer in optimizer_list:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(progress["step"], args.steps, args.lr)
            optimizer.zero_grad()
        batch = documents.take(args.batch)
        loss, tokens = accumulate(model, batch, tokenizer.pad, args.micro_batch, args.bfloat16)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizer_list:
            optimizer.step()
        progress["step"] += 1
        progress["tokens"] += tokens
        progress["seconds"] += time.monotonic() - start
        progress["position"] = documents.position

        step, last = progress["step"], progress["step"] == end
        if step % 50 == 0 or last:
            rate = progress["tokens"] / progress["seconds"]
            print(
                f"step {step} tokens {progress['tokens']:,} seconds {progress['seconds']:.0f} "
                f"tokens/s {rate:.0f} answer loss {loss:.4f}",
                flush=True,
            )
        if step % 500 == 0 or last:
            accuracy = greedy_accuracy(model, tokenizer, 500 if last else 100)
            print(f"  held-out greedy accuracy {accuracy:.3f}", flush=True)
            save(path, model, optimizer_list, progress)


if __name__ == "__main__":
    main()
