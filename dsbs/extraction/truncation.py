"""Detection of prompts that a server truncated silently."""

# English has four or five characters a token, code three; no tokenizer puts so many into one on average.
MAX_CHARACTERS_PER_TOKEN = 8
# Shorter prompts are too short to tell.
FEWEST_CHARACTERS = 2000
# As many prompts whose lengths differ by this factor do not have the same number of tokens by chance.
FEWEST_ALIKE = 3
SPREAD = 1.2
FEWEST_TOKENS = 256


class CutPrompts:
    """Compares the length of prompts with the prompt tokens that the server reports.

    A prompt seems truncated where it has too many characters for its tokens, or where prompts of different lengths all
    have the largest number of tokens that was reported.

    Attributes:
        count: prompts that seem truncated.
    """

    def __init__(self) -> None:
        self.count = 0
        self._worst = (0, 0)
        self._largest, self._lengths = 0, [0, 0]  # most tokens, and the shortest and longest prompt with that many
        self._alike = 0

    def look(self, characters: int, prompt_tokens: int | None) -> bool:
        """Check a completion.

        Args:
            prompt_tokens: as the server reports them; 0 and None: unknown.

        Returns:
            whether it is the first that seems truncated.
        """
        if not prompt_tokens or characters < FEWEST_CHARACTERS:
            return False
        if characters < MAX_CHARACTERS_PER_TOKEN * prompt_tokens and not self._is_bound(characters, prompt_tokens):
            return False
        self.count += 1
        self._worst = max(self._worst, (characters, prompt_tokens))
        return self.count == 1

    def _is_bound(self, characters: int, prompt_tokens: int) -> bool:
        """Return whether this number of tokens seems to be all that the server reads."""
        if prompt_tokens < max(self._largest, FEWEST_TOKENS):
            return False
        if prompt_tokens > self._largest:
            self._largest, self._lengths, self._alike = prompt_tokens, [characters, characters], 0
        self._lengths = [min(self._lengths[0], characters), max(self._lengths[1], characters)]
        self._alike += 1
        return self._alike >= FEWEST_ALIKE and self._lengths[1] > SPREAD * self._lengths[0]

    def describe(self) -> str:
        """Return a sentence about the truncated prompts, with the worst one."""
        characters, tokens = self._worst
        return (
            f"The server reports {tokens:,} prompt tokens for a prompt of {characters:,} characters (in {self.count:,} "
            "answers): it probably truncated the prompt to its context (Ollama does so silently: raise num_ctx), or "
            "does not count cached tokens. Otherwise use fewer prompt.exemplars or shorter inputs."
        )
