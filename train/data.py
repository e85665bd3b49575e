"""Training batches and evaluation prompts out of generated problems.

A document is one problem, or two in the form in which a chat's second turn arrives:
`<bos>Q: ...\nA: ...\nQ: ...\nA: ...\n<eos>`. Answers weigh 1.0 in the loss and questions 0.15: the
names and numbers of a question cannot be predicted, and at equal weight learning to guess them
crowds out learning to answer.
"""

import torch

import words

TRAINING_SEED = 2026
EVALUATION_SEED = 99
QUESTION_WEIGHT = 0.15
TWO_TURNS_IN = 8  # one document in eight has a second turn


class Documents:
    """The endless training sequence; `position` is all there is to save for resuming."""

    def __init__(self, tokenizer, position=0):
        self.tokenizer = tokenizer
        self.position = position

    def take(self, count):
        return [self._next() for _ in range(count)]

    def _next(self):
        turns = 2 if self.position % TWO_TURNS_IN == 0 else 1
        ids, weights = [self.tokenizer.bos], [0.0]
        for turn in range(turns):
            p = self._next_problem()
            question = self.tokenizer.encode(words.prompt_of(p.question))
            answer = self.tokenizer.encode(words.completion_of(p.worked_answer))
            # Whether another turn follows is not the model's to guess: the first Q weighs nothing.
            ids += question + answer
            weights += [0.0] + [QUESTION_WEIGHT] * (len(question) - 1) + [1.0] * len(answer)
        return ids + [self.tokenizer.eos], weights + [1.0]

    def _next_problem(self):
        self.position, p = next(words.split(TRAINING_SEED, held_out=False, start=self.position))
        self.position += 1
        return p


def micro_batches(documents, pad, size):
    """Batches of `size` documents of similar length: (inputs, targets, weights), [size, time].

    Sorting wastes little on padding, and small batches stay in the processor's cache. Lengths are
    rounded up to a multiple of 16: oneDNN compiles a kernel for every new shape.
    """
    ordered = sorted(documents, key=lambda document: len(document[0]))
    for start in range(0, len(ordered), size):
        group = ordered[start : start + size]
        longest = (max(len(ids) for ids, _ in group) - 2) // 16 * 16 + 17  # inputs: one less
        ids = torch.full((len(group), longest), pad)
        weights = torch.zeros(len(group), longest)
        for row, (document, document_weights) in enumerate(group):
            ids[row, : len(document)] = torch.tensor(document)
            weights[row, : len(document)] = torch.tensor(document_weights)
        yield ids[:, :-1], ids[:, 1:], weights[:, 1:]


def evaluation_problems(count, seed=EVALUATION_SEED):
    """The first `count` held-out problems: the same items for every model."""
    held_out = words.split(seed, held_out=True)
    return [next(held_out)[1] for _ in range(count)]
