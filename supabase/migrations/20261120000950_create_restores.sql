-- After a backup was restored fences go on above all that were ever given, also those the backup knows nothing of.
create table copperplate.restores (
    -- When the backup was restored, as whoever did it says: the name of the restore.
    restored_at timestamptz not null,
    fences_after bigint not null,
    constraint restores_pkey primary key (restored_at)
);

comment on table copperplate.restores is
'Restores after which fences were raised, so that each raises them once.
Row-level security is on without a policy: only the owner sees rows.';

alter table copperplate.restores enable row level security;
revoke all on table copperplate.restores from public, anon, authenticated, service_role;

create function copperplate.raise_fences(p_restored_at text)
returns table (fences_go_on_after bigint, is_raised boolean)
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- More than were given between any backup and its restore.
    c_skipped constant bigint := 1000000000;
    v_restored_at timestamptz;
    v_last bigint;
    v_highest bigint;
begin
    -- The same words name the same restore whenever and by whomever they are read: no `now`, and no zone of a session.
    if p_restored_at !~ '^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2})? ?(Z|UTC|[+-]\d{2}(:?\d{2})?)$' then
        raise exception 'write the time of the restore with its zone, such as 2026-11-29 12:00 UTC'
        using errcode = 'invalid_datetime_format';
    end if;
    v_restored_at := p_restored_at::timestamptz;
    if v_restored_at > copperplate.clock() then
        raise exception 'the time of the restore is in the future' using errcode = 'datetime_field_overflow';
    end if;
    -- Two at once are one after the other.
    lock table copperplate.restores in exclusive mode;
    select f.last_value into v_last from copperplate.fences as f;
    select coalesce(max(g.fence), 0) into v_highest from public.generation_status as g;
    insert into copperplate.restores (restored_at, fences_after)
    values (v_restored_at, greatest(v_last, v_highest) + c_skipped)
    on conflict (restored_at) do nothing
    returning fences_after into fences_go_on_after;
    is_raised := found;
    -- A sequence that fell behind its rows is never right, whatever was done before.
    if not is_raised and v_highest > v_last then
        is_raised := true;
        fences_go_on_after := v_highest + c_skipped;
    end if;
    if is_raised then
        perform setval('copperplate.fences', fences_go_on_after);
        -- Copies of what the backup does not know are another database's from now on.
        delete from copperplate.invalidations;
        update copperplate.feed_states as s
        set
            database_id = gen_random_uuid(), forgotten = '1:1:', marked = pg_current_snapshot(),
            marked_at = copperplate.clock()
        where s.is_only;
    else
        fences_go_on_after := v_last;
    end if;
    return next;
end;
$$;

comment on function copperplate.raise_fences(text) is
'After the restore of this time, which is past and has its zone: fences go on above all that were ever given. Once for
each restore, and then only if the sequence is behind its rows; is_raised says whether anything was changed. Every
server has to be stopped.';

revoke all on function copperplate.raise_fences(text) from public, anon, authenticated, service_role;
