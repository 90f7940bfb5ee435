"""attnaudit: may these attention weights be shown as an explanation?"""

__version__ = "0.1.0"
