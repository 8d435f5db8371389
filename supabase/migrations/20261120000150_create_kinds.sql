-- What a kind of picture is. Functions, triggers, statistics and buckets read this table; only the views and functions
-- that are promised of one kind, image_cache and memoji_cache, name it. A new kind is a row here, and its bucket comes
-- with it (src/copperplate/recipes/kinds.py; a test holds the two equal).
create table copperplate.kinds (
    name text not null,
    -- The Storage bucket of its objects.
    bucket text not null,
    is_public boolean not null,
    -- Whether a generation is told of to nobody but who asked for it.
    is_private boolean not null default false,
    -- Whether people are shown the original itself; else they are shown its renditions, which it backs.
    is_own_original boolean not null,
    -- Of one object.
    max_bytes bigint not null,
    -- An entry may be removed once it is this old.
    retention interval not null,
    -- With so many uses it stays, however old; null: it stays while its last use is younger than retention.
    min_uses bigint,
    -- With more uses than that it is archived, which no cleanup removes; null: never.
    archive_above bigint,
    constraint kinds_pkey primary key (name),
    constraint kinds_bucket_key unique (bucket),
    constraint kinds_limits_are_positive check (
        max_bytes > 0 and retention > interval '0' and min_uses > 0 and archive_above >= min_uses
    )
);

comment on table copperplate.kinds is
'One row per kind of picture: where its objects live, what people are shown of it, how long it is kept.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.kinds enable row level security;
revoke all on table copperplate.kinds from public, anon, authenticated, service_role;
grant select on table copperplate.kinds to service_role;

insert into copperplate.kinds (
    name, bucket, is_public, is_private, is_own_original, max_bytes, retention, min_uses, archive_above
)
values
('image', 'generated-images', true, false, false, 32 * 1024 * 1024, interval '30 days', null, null),
('memoji', 'memoji-images', true, true, true, 5 * 1024 * 1024, interval '90 days', 2, 100),
('processed', 'processed-images', false, true, true, 32 * 1024 * 1024, interval '30 days', null, null);

create function copperplate.rules_of(
    p_kind text, p_older_than interval, p_min_uses bigint, p_archive_above bigint
)
returns copperplate.kinds
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_rules copperplate.kinds;
begin
    select k.* into v_rules from copperplate.kinds as k where k.name = p_kind;
    if not found then
        raise exception 'unknown kind of picture'
            using errcode = 'ZC003', hint = 'Known kinds are the rows of copperplate.kinds.';
    end if;
    v_rules.retention := coalesce(p_older_than, v_rules.retention);
    v_rules.min_uses := coalesce(p_min_uses, v_rules.min_uses);
    v_rules.archive_above := coalesce(p_archive_above, v_rules.archive_above);
    return v_rules;
end;
$$;

comment on function copperplate.rules_of(text, interval, bigint, bigint) is
'The row of a kind, with what the caller gives in place of its rules. Raises ZC003 for an unknown kind.';
revoke all on function copperplate.rules_of(text, interval, bigint, bigint) from public, anon, authenticated;
grant execute on function copperplate.rules_of(text, interval, bigint, bigint) to service_role;
