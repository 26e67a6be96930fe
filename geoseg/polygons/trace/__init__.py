"""From pixels to rings: blocks are traced alone, then joined along their seams."""
