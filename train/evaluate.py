"""Accuracy of checkpoints on held-out problems, batched over problems, with a KV cache.

    python3 evaluate.py CHECKPOINT.pt tokenizer.json [--problems 500] [--samples 0] [--threads 1]
    python3 evaluate.py words-l.pt tokenizer.json --draft words-s.pt      # token agreement

A quick check: the figures of record come from the engine (`ergon eval`).
"""

import argparse
import math

import torch

import words
from bpe import Tokenizer
from data import evaluation_problems
from model import Config, LanguageModel
from templates import LEVELS

LONGEST_ANSWER = 80  # tokens; worked answers need 66 at most
BATCH = 128


class Cache:
    """Keys and values of one layer, [batch, time, kv_heads, head_width], grown by appending."""

    def __init__(self):
        self.k = self.v = None

    def append(self, k, v):
        self.k = k if self.k is None else torch.cat((self.k, k), 1)
        self.v = v if self.v is None else torch.cat((self.v, v), 1)
        return self.k, self.v


def load(path):
    checkpoint = torch.load(path)
    model = LanguageModel(Config(**checkpoint["config"]))
    model.load_state_dict(checkpoint["weights"])
    return model.eval()


@torch.no_grad()
def generate(model, tokenizer, prompts, temperature=0.0, generator=None):
    """One answer (ids without <eos>) for each prompt (ids); all prompts are one batch.

    Prompts are padded on the left: what stands at the left of a row is masked, and its positions
    are counted from its first real token, so padding changes nothing.
    """
    longest, rows = max(map(len, prompts)), len(prompts)
    tokens = torch.full((rows, longest), tokenizer.pad)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
    padding = torch.tensor([longest - len(prompt) for prompt in prompts])
    caches = [Cache() for _ in model.blocks]
    answers = torch.full((rows, LONGEST_ANSWER), tokenizer.eos)
    finished = torch.zeros(rows, dtype=torch.bool)
    start = 0
    for count in range(LONGEST_ANSWER):
        logits = step(model, tokens, start, padding, caches)[:, -1]
        if temperature == 0:
            chosen = logits.argmax(-1)
        else:
            chances = (logits / temperature).softmax(-1)
            chosen = torch.multinomial(chances, 1, generator=generator)[:, 0]
        chosen = torch.where(finished, torch.full_like(chosen, tokenizer.eos), chosen)
        answers[:, count] = chosen
        finished |= chosen == tokenizer.eos
        if finished.all():
            break
        start += tokens.shape[1]
        tokens = chosen[:, None]
    return [until(tokenizer.eos, row) for row in answers.tolist()]


def until(end, ids):
    return ids[: ids.index(end)] if end in ids else ids


def step(model, tokens, start, padding, caches):
    """Logits of `tokens`, [batch, time], that follow `start` cached ones."""
    keys = torch.arange(start + tokens.shape[1])
    queries = keys[start:]
    later = keys[None, None] > queries[None, :, None]
    padded = keys[None, None] < padding[:, None, None]
    mask = (later | padded).float()[:, None, None] * -1e9
    positions = (queries[None] - padding[:, None]).clamp(min=0)
    cos, sin = model.cos[positions][:, :, None], model.sin[positions][:, :, None]
    x = model.embedding(tokens)
    for block, cache in zip(model.blocks, caches):
        x = block(x, cos, sin, mask, cache)
    return model.norm(x[:, -1:]) @ model.embedding.weight.t()


def prompts_of(tokenizer, problems):
    return [[tokenizer.bos] + tokenizer.encode(words.prompt_of(p.question)) for p in problems]


def is_right(tokenizer, answer, problem):
    return tokenizer.decode(answer).rpartition("####")[2].strip() == str(problem.answer)


def answer_all(model, tokenizer, problems, temperature=0.0, generator=None):
    """Answers in the order of the problems, generated in batches of similar length."""
    prompts = prompts_of(tokenizer, problems)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers = [None] * len(prompts)
    for begin in range(0, len(order), BATCH):
        group = order[begin : begin + BATCH]
        chosen = [prompts[i] for i in group]
        for i, answer in zip(group, generate(model, tokenizer, chosen, temperature, generator)):
            answers[i] = answer
    return answers


def greedy_accuracy(model, tokenizer, count):
    problems = evaluation_problems(count)
    answers = answer_all(model, tokenizer, problems)
    return sum(is_right(tokenizer, a, p) for a, p in zip(answers, problems)) / count


def pass_at(k, samples, right):
    """Chen et al. 2021 (arXiv:2107.03374), equation 1: the unbiased estimate."""
    return 1 - math.comb(samples - right, k) / math.comb(samples, k)


@torch.no_grad()
def agreement(target, draft, tokenizer, problems):
    """The share of the target's greedy tokens that the draft would also have chosen there."""
    same = total = 0
    answers = answer_all(target, tokenizer, problems)
    for prompt, answer in zip(prompts_of(tokenizer, problems), answers):
        answer = answer + [tokenizer.eos]
        logits = draft(torch.tensor([prompt + answer[:-1]]))[0, len(prompt) - 1 :]
        same += int((logits.argmax(-1) == torch.tensor(answer)).sum())
        total += len(answer)
    return same / total


def sampled(model, tokenizer, problems, samples, temperature):
    """How many of `samples` answers to each problem are right."""
    generator = torch.Generator().manual_seed(1)
    right = [0] * len(problems)
    for _ in range(samples):
        answers = answer_all(model, tokenizer, problems, temperature, generator)
        for i, (answer, p) in enumerate(zip(answers, problems)):
            right[i] += is_right(tokenizer, answer, p)
    return right


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("tokenizer")
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--draft", help="a smaller checkpoint, compared with the first's answers")
    parser.add_argument("--ask", help="print the greedy answer to one question")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer, model = Tokenizer(args.tokenizer), load(args.checkpoint)
    if args.ask:
        prompt = [tokenizer.bos] + tokenizer.encode(words.prompt_of(args.ask))
        print(tokenizer.decode(generate(model, tokenizer, [prompt])[0]).strip())
        return
    problems = evaluation_problems(args.problems)

    if args.draft:
        share = agreement(model, load(args.draft), tokenizer, problems)
        print(f"greedy token agreement of the draft {share:.3f}")
        return
    answers = answer_all(model, tokenizer, problems)
    right = [is_right(tokenizer, answer, p) for answer, p in zip(answers, problems)]
    print(f"greedy {sum(right) / len(right):.3f}")
    for level in LEVELS:
        of_level = [r for r, p in zip(right, problems) if p.level == level]
        print(f"  {level} {sum(of_level) / len(of_level):.3f} of {len(of_level)}")
    if args.samples:
        counts = sampled(model, tokenizer, problems, args.samples, args.temperature)
        for k in (k for k in (1, 2, 4, 8, 16, 32) if k <= args.samples):
            mean = sum(pass_at(k, args.samples, count) for count in counts) / len(counts)
            print(f"pass@{k} at temperature {args.temperature} {mean:.3f}")


if __name__ == "__main__":
    main()
