"""web_fetch: one page of the web as text. What may be fetched was decided before; this holds the fetch to it."""
