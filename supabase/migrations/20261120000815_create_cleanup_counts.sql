-- What a cleanup would do.

create function public.count_old_entries(
    p_kind text,
    p_older_than interval default null,
    p_min_uses bigint default null,
    p_archive_above bigint default null
)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_rules copperplate.kinds := copperplate.rules_of(p_kind, p_older_than, p_min_uses, p_archive_above);
    v_cutoff timestamptz := copperplate.clock() - v_rules.retention;
    v_archived bigint := 0;
    v_answer jsonb;
begin
    if v_rules.archive_above is not null then
        select count(*)
        into v_archived
        from copperplate.cache_entries as e
        where
            e.kind = p_kind and e.is_original = v_rules.is_own_original
            and e.archived_at is null and e.access_count > v_rules.archive_above;
    end if;

    select jsonb_build_object(
        -- As people are shown them: a form that stays is shown in its place.
        'pictures', count(*) filter (
            where e.is_shown and (
                v_rules.is_own_original
                or (
                    select r.key
                    from copperplate.cache_entries as r
                    where
                        r.generation_key = e.generation_key and r.format = e.format and not r.is_original
                        and (
                            r.archived_at is not null or r.created_at >= v_cutoff
                            or r.access_count >= v_rules.min_uses
                            or (v_rules.min_uses is null and r.last_accessed_at >= v_cutoff)
                        )
                    limit 1
                ) is null
            )
        ),
        'generations', count(*) filter (where e.is_original),
        'bytes', coalesce(sum(
            case
                when v_rules.is_own_original then (
                    select sum(r.file_size)
                    from copperplate.cache_entries as r
                    where r.generation_key = e.generation_key
                )
                else e.file_size
            end
        ), 0),
        'archived', v_archived
    )
    into v_answer
    from copperplate.cache_entries as e
    where
        e.kind = p_kind and e.archived_at is null and e.created_at < v_cutoff
        and (e.access_count < v_rules.min_uses or (v_rules.min_uses is null and e.last_accessed_at < v_cutoff))
        and e.generation_key not in (
            select g.prompt_hash from public.generation_status as g
            where g.pinned_at is not null
        )
        -- An original stays while any picture made from it does.
        and case
            when v_rules.is_own_original then e.is_original
            when not e.is_original then true
            -- As in lock_old_generations, not "not exists".
            else (
                select r.key
                from copperplate.cache_entries as r
                where
                    r.generation_key = e.generation_key and not r.is_original
                    and case
                        when v_rules.min_uses is null then r.last_accessed_at >= v_cutoff
                        else r.access_count >= v_rules.min_uses or r.created_at >= v_cutoff
                    end
                limit 1
            ) is null
        end;
    return v_answer;
end;
$$;

comment on function public.count_old_entries(text, interval, bigint, bigint) is
'What cleanup_entries would remove and archive by and by, as the same counts; changes nothing.';
revoke all on function public.count_old_entries(text, interval, bigint, bigint) from public, anon, authenticated;
grant execute on function public.count_old_entries(text, interval, bigint, bigint) to service_role;
