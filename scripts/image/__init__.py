"""The image: built by whichever builder is here, saved as an archive that goes anywhere, and its parts written down (SBOM)."""
