"""Captioned pictures composed on the fly from the sprite pack (numpy and Pillow only)."""
