"""Byte-level BPE of 512 tokens with the qwen2 pre-tokenizer, learned on generated problems.

    python3 bpe.py tokenizer.json

The pre-tokenizer makes every digit a token of its own, which is what lets a model this small do
arithmetic column by column. GGUF readers know the pair as tokenizer.ggml.model "gpt2",
tokenizer.ggml.pre "qwen2".
"""

import collections
import json
import sys

import regex

import words

VOCABULARY = 512
SPECIAL = ["<|bos|>", "<|eos|>", "<|pad|>"]  # the last three ids
CORPUS_SEED, CORPUS_PROBLEMS = 1, 20_000

PRE_TOKENIZER = regex.compile(
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _printable_bytes():
    """GPT-2's map from bytes to printable characters: the unprintable ones move above U+0100."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [b for b in range(256) if b not in printable]
    table = {b: chr(b) for b in printable}
    table.update({b: chr(256 + n) for n, b in enumerate(moved)})
    return table


CHARACTER_OF = _printable_bytes()
BYTE_OF = {character: byte for byte, character in CHARACTER_OF.items()}


def split_words(text):
    pieces = PRE_TOKENIZER.findall(text)
    return ["".join(CHARACTER_OF[b] for b in piece.encode()) for piece in pieces]


def merge_pair(parts, pair):
    """`parts` with every occurrence of `pair` joined, from the left."""
    joined, i = [], 0
    while i < len(parts):
        if tuple(parts[i : i + 2]) == pair:
            joined.append("".join(pair))
            i += 2
        else:
            joined.append(parts[i])
            i += 1
    return joined


def learn():
    """The vocabulary (bytes, merged pairs, specials) and the merges, most frequent pair first."""
    counts = collections.Counter()
    for index in range(CORPUS_PROBLEMS):
        p = words.problem(CORPUS_SEED, index)
        counts.update(
            split_words(words.prompt_of(p.question) + words.completion_of(p.worked_answer))
        )
    parts_of = {word: list(word) for word in counts}
    vocabulary = [CHARACTER_OF[b] for b in range(256)]
    merges = []
    while len(vocabulary) < VOCABULARY - len(SPECIAL):
        pairs = collections.Counter()
        for word, parts in parts_of.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += counts[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))  # ties by spelling
        merges.append(best)
        vocabulary.append("".join(best))
        parts_of = {word: merge_pair(parts, best) for word, parts in parts_of.items()}
    return vocabulary + SPECIAL, merges


class Tokenizer:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        self.vocabulary = data["vocabulary"]
        self.merges = [tuple(pair) for pair in data["merges"]]
        self._id_of = {token: i for i, token in enumerate(self.vocabulary)}
        self._rank_of = {pair: rank for rank, pair in enumerate(self.merges)}
        self._ids_of_word = {}
        self.bos, self.eos, self.pad = (self._id_of[token] for token in SPECIAL)

    def encode(self, text):
        return [i for word in split_words(text) for i in self._encode_word(word)]

    def decode(self, ids):
        """The text of ordinary tokens; special ones are left out."""
        characters = "".join(self.vocabulary[i] for i in ids if i < self.bos)
        return bytes(BYTE_OF[c] for c in characters).decode(errors="replace")

    def _encode_word(self, word):
        if word not in self._ids_of_word:
            parts = list(word)
            while len(parts) > 1:
                best = min(zip(parts, parts[1:]), key=self._rank)
                if best not in self._rank_of:
                    break
                parts = merge_pair(parts, best)
            self._ids_of_word[word] = [self._id_of[part] for part in parts]
        return self._ids_of_word[word]

    def _rank(self, pair):
        return self._rank_of.get(pair, len(self.merges))


def main():
    vocabulary, merges = learn()
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump({"vocabulary": vocabulary, "merges": merges}, file)
    print(f"{len(vocabulary)} tokens, {len(merges)} merges")


if __name__ == "__main__":
    main()
