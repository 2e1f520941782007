// The admin's policy allows no style element, and htmx would add one: for a spinner that no page has.
htmx.config.includeIndicatorStyles = false;
