"""Pure policy: what an agent may touch, what must not be shown. Decides; never acts."""
