"""Tools that the site runs for a model: plugins that are installed and named in TINYLLM_TOOLS."""
