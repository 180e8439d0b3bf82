"""The extraction engine: asks a teacher for rationales, keeps every answer, and can always be resumed."""
