"""What every other package needs: records, errors, files, hashes, progress, tracking."""
