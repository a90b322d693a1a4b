"""The keys that work here, in the last line."""

from textual.widgets import Footer


class Keys(Footer):
    """Textual's footer, but made anew only where it would say something else: opening a view asks for it four times."""

    _said: tuple[object, ...] | None = None

    async def recompose(self) -> None:
        """Show the keys that work now."""
        if not self.is_attached:
            return
        known = self.screen.active_bindings.values()
        keys = [(binding, enabled, tip) for _, binding, enabled, tip in known if binding.show]
        said = (self.show_command_palette, *keys)
        if said == self._said:
            return
        self._said = said
        await super().recompose()
        # What is bound to this keeps the keys that are gone in memory until it is touched.
        self.mutate_reactive(Footer.compact)
