"""The part of the ledger in memory that operators and the cron need."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from copperplate.adapters.memory.credits import DAY_SECONDS
from copperplate.adapters.memory.lineage import MemoryLineage
from copperplate.failure_classes import FailureClass
from copperplate.ports.maintenance import CleanupCounts, DiscardedObject, Purged, PurgedNode
from copperplate.recipes.kinds import KINDS
from copperplate.recipes.text import fold_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from copperplate.adapters.memory.tables import EntryRow, GenerationRow
    from copperplate.model import Condition
    from copperplate.recipes.kinds import KindSpec

# What is shown to a person.
MAX_TREE: Final = 200


class MemoryMaintenance(MemoryLineage):
    """`Maintenance` over the tables in memory."""

    async def sweep(self, limit: int) -> int:
        """See `Maintenance.sweep`."""
        horizon = self._clock.monotonic() - 600
        expired = [key for key, row in self._generations.items() if row.is_live and row.lease_until < horizon][:limit]
        for key in expired:
            self._set_failed(self._generations[key], FailureClass.ABANDONED, self._clock.monotonic())
            self._release_spending(key)
        self._release_expired()
        self._drop_unset_budgets()
        return len(expired)

    async def cleanup_entries(
        self, kind: str, limit: int, *, older_than: timedelta | None = None, after: str | None = None
    ) -> CleanupCounts:
        """See `Maintenance.cleanup_entries`."""
        spec = KINDS[kind]
        much_used = self._much_used(spec)[:limit]
        for key in much_used:
            self._entries[key].is_archived = True
        old = self._old(spec, older_than)
        aging = {self._entries[key].entry.generation_key for key in old}
        shown = self._count_shown_of(aging)
        renditions = [key for key in old if not self._entries[key].entry.is_original][:limit]
        size_bytes = self._remove(renditions, is_wrong=False)
        generations = [self._entries[key].entry.generation_key for key in old if key in self._entries]
        if spec.is_own_original:
            generations = generations[:limit]
        else:
            kept = {row.entry.generation_key for row in self._entries.values() if not row.entry.is_original}
            generations = [key for key in generations if key not in kept]
        for key in generations:
            size_bytes += self._remove([form.entry.key for form in self._forms(key)], is_wrong=False)
            self._forget(key)
        self._forget_invalidations()
        # Everything was looked at: it is over once nothing was left to do.
        reached = "" if after is not None and (renditions or generations or much_used) else None
        return CleanupCounts(
            pictures=shown - self._count_shown_of(aging),
            generations=len(generations),
            size_bytes=size_bytes,
            archived=len(much_used),
            reached=reached,
        )

    async def count_old_entries(self, kind: str, *, older_than: timedelta | None = None) -> CleanupCounts:
        """See `Maintenance.count_old_entries`."""
        spec = KINDS[kind]
        old = set(self._old(spec, older_than))
        young = {
            row.entry.generation_key
            for key, row in self._entries.items()
            if not row.entry.is_original and key not in old and not spec.is_own_original
        }
        entries = [self._entries[key].entry for key in old]
        gone = [entry for entry in entries if not (entry.is_original and entry.generation_key in young)]
        forms = [form.entry for entry in gone for form in self._forms(entry.generation_key)]
        return CleanupCounts(
            pictures=sum(self._leaves_no_form(self._entries[key], old) for key in old),
            generations=sum(entry.is_original for entry in gone),
            size_bytes=sum(entry.size_bytes for entry in (forms if spec.is_own_original else gone)),
            archived=len(self._much_used(spec)),
        )

    def _count_shown_of(self, generation_keys: set[str]) -> int:
        return self._count_shown(form for key in generation_keys for form in self._forms(key))

    def _leaves_no_form(self, row: EntryRow, old: set[str]) -> bool:
        """Whether it is shown, and nothing is to be shown in its place."""
        entry = row.entry
        return self._is_shown(row) and all(
            form.entry.key in old
            for form in self._forms(entry.generation_key)
            if form.entry.format == entry.format and form.entry.is_original is entry.is_original
        )

    def _much_used(self, spec: KindSpec) -> list[str]:
        """The keys of what is to be archived."""
        if spec.archive_above is None:
            return []
        return [key for key, row in self._aging(spec) if row.access_count > spec.archive_above]

    def _old(self, spec: KindSpec, older_than: timedelta | None) -> list[str]:
        """The keys of what may be removed, the oldest first."""
        age = spec.retention if older_than is None else older_than
        cutoff = self._clock.monotonic() - age.total_seconds()
        return [
            key
            for key, row in self._aging(spec)
            if row.created < cutoff
            and not self._generations[row.entry.generation_key].is_pinned
            and (row.last_accessed < cutoff if spec.min_uses is None else row.access_count < spec.min_uses)
        ]

    def _aging(self, spec: KindSpec) -> list[tuple[str, EntryRow]]:
        """What grows old by itself: renditions go with an original that people are shown."""
        return [
            (key, row)
            for key, row in self._entries.items()
            if row.kind == spec.name and not row.is_archived and (row.entry.is_original or not spec.is_own_original)
        ]

    async def cleanup_generations(self, limit: int) -> int:
        """See `Maintenance.cleanup_generations`."""
        now = self._clock.monotonic()
        kept = {stored.entry.generation_key for stored in self._entries.values()}
        done = [
            key
            for key, row in self._generations.items()
            if (
                row.status == "failed"
                and not row.is_pinned
                and row.retry_at < now
                and max(row.window_started, row.noted_at or row.window_started) < now - DAY_SECONDS
            )
            or (row.status == "completed" and key not in kept)
        ][:limit]
        for key in done:
            self._forget(key)
        return len(done)

    async def claim_discarded(self, limit: int) -> Sequence[DiscardedObject]:
        """See `Maintenance.claim_discarded`."""
        now = self._clock.monotonic()
        needed = self._needed()
        due = [
            (path, gone)
            for path, gone in self._discarded.items()
            if gone.since < now - 3_600 and gone.claimed_until < now and path not in needed
        ][:limit]
        for _, gone in due:
            gone.claimed_until = now + 300
        return [DiscardedObject(gone.id, gone.bucket, path) for path, gone in due]

    async def forget_discarded(self, ids: Iterable[int]) -> int:
        """See `Maintenance.forget_discarded`."""
        wanted = set(ids)
        paths = [path for path, gone in self._discarded.items() if gone.id in wanted]
        for path in paths:
            del self._discarded[path]
        return len(paths)

    async def claim_audit(self, bucket: str) -> str | None:
        """See `Maintenance.claim_audit`."""
        reached, claimed_until = self._audits.get(bucket, ("", -1.0))
        now = self._clock.monotonic()
        if claimed_until >= now:
            return None
        self._audits[bucket] = (reached, now + 60)
        return reached

    async def audit_objects(self, bucket: str, paths: Sequence[str], reached: str) -> int:
        """See `Maintenance.audit_objects`."""
        unknown = set(paths) - self._needed() - self._discarded.keys()
        for path in unknown:
            self._discard_path(bucket, path)
        self._audits[bucket] = (reached, self._clock.monotonic() + 60)
        return len(unknown)

    async def purge(
        self,
        condition: Condition,
        limit: int,
        *,
        is_dry_run: bool,
        with_pinned: bool = False,
        with_children: bool = False,
    ) -> Purged:
        """See `Maintenance.purge`."""
        met = [key for key, row in self._generations.items() if self._meets(key, row, condition)]
        is_everything = with_pinned or condition.key is not None
        pinned = [] if is_everything else [key for key in met if self._generations[key].is_pinned]
        keys = [key for key in met if key not in pinned][:limit]
        has_more = len(keys) >= limit
        depths = self._generations_below(keys) if with_children or is_dry_run else {}
        below = sorted(depths, key=lambda key: (-depths[key], key))
        children = [key for key in below if with_pinned or not self._generations[key].is_pinned]
        pinned_children = len(below) - len(children) if with_children else 0
        if with_children and len(children) > limit:
            keys, has_more, pinned_children = children[:limit], True, 0
        elif with_children:
            keys += children
        counts = self._count_purged(keys)
        counts = replace(
            counts, pinned=len(pinned), children=len(children), pinned_children=pinned_children, has_more=has_more
        )
        if is_dry_run:
            return replace(counts, tree=self._tree_of(children)) if with_children else counts
        entries = [key for key, kept in self._entries.items() if kept.entry.generation_key in keys]
        objects = [(KINDS[self._entries[key].kind].bucket, self._entries[key].entry.path) for key in entries]
        self._remove(entries)
        for key in keys:
            self._forget(key)
        return replace(counts, keys=keys, objects=objects)

    def _count_purged(self, keys: Sequence[str]) -> Purged:
        kept = [row for row in self._entries.values() if row.entry.generation_key in keys]
        return Purged(
            generations=len(keys),
            images=self._count_shown(kept),
            size_bytes=sum(row.entry.size_bytes for row in kept),
        )

    def _tree_of(self, children: Sequence[str]) -> tuple[PurgedNode, ...]:
        parents = {child: self._parent_of(child) for child in children}
        named = [key for key in {*children, *parents.values()} if key in self._generations]
        ordered = sorted(named, key=lambda key: (self._generations[key].created, key))
        return tuple(self._purged_node(key) for key in ordered[:MAX_TREE])

    def _purged_node(self, key: str) -> PurgedNode:
        row = self._generations[key]
        return PurgedNode(
            key=key,
            kind=row.kind,
            operation=str(row.recipe["operation"]) if "operation" in row.recipe else None,
            parent_key=self._parent_of(key),
            bytes=sum(form.entry.size_bytes for form in self._forms(key)),
        )

    def _meets(self, key: str, row: GenerationRow, condition: Condition) -> bool:
        prompt = fold_text(condition.prompt) if condition.prompt is not None else None
        age = condition.older_than
        return (
            (condition.key is None or key == condition.key or self._is_rendition(key, condition.key))
            and (prompt is None or row.recipe.get("prompt") == prompt)
            and (condition.key_prefix is None or key.startswith(condition.key_prefix))
            and (condition.model is None or row.recipe["model"] == condition.model)
            and (age is None or row.created < self._clock.monotonic() - age.total_seconds())
        )

    def _is_rendition(self, key: str, of: str) -> bool:
        stored = self._entries.get(of)
        return stored is not None and stored.entry.generation_key == key
