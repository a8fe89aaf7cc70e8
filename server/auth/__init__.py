"""OAuth 2.0 and SMART: tokens become Access values."""
