-- Pictures that no cleanup removes. A pin is a column of its generation: it covers the original and every rendition,
-- outlasts a lost object, and goes with the row.

create function copperplate.set_pin(p_key text, p_pinned_at timestamptz)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_generation_key text;
    v_pinned_at timestamptz;
    v_status text;
begin
    -- A cleanup that holds the row is waited for; what it removed is not there any more.
    select g.prompt_hash, g.pinned_at, g.status
    into v_generation_key, v_pinned_at, v_status
    from public.generation_status as g
    where
        g.prompt_hash = p_key
        or g.prompt_hash = (select e.generation_key from copperplate.cache_entries as e where e.key = p_key)
    for update;
    if not found then
        return null;
    end if;
    if (v_pinned_at is null) <> (p_pinned_at is null) then
        update public.generation_status as g set pinned_at = p_pinned_at where g.prompt_hash = v_generation_key;
    end if;
    return jsonb_build_object(
        'generation_key', v_generation_key, 'status', v_status, 'is_new', (v_pinned_at is null) <> (p_pinned_at is null)
    );
end;
$$;

comment on function copperplate.set_pin(text, timestamptz) is
'Set or, with null, remove the pin of a generation, by its key or that of a picture of it; answers its key, its status
and whether that was new; null where the key is not known.';
revoke all on function copperplate.set_pin(text, timestamptz) from public, anon, authenticated;
grant execute on function copperplate.set_pin(text, timestamptz) to service_role;

create function public.pin_picture(p_key text)
returns jsonb
language sql
volatile
security invoker
set search_path = ''
as $$
    select copperplate.set_pin(p_key, copperplate.clock());
$$;

comment on function public.pin_picture(text) is
'Keep a picture, in every format, from all cleanups, by the key of its generation or its own. Answers generation_key,
status and is_new; null where the key is not known.';
revoke all on function public.pin_picture(text) from public, anon, authenticated;
grant execute on function public.pin_picture(text) to service_role;

create function public.unpin_picture(p_key text)
returns jsonb
language sql
volatile
security invoker
set search_path = ''
as $$
    select copperplate.set_pin(p_key, null);
$$;

comment on function public.unpin_picture(text) is
'Let a picture grow old again, by the key of its generation or its own. Answers generation_key, status and is_new; null
where the key is not known.';
revoke all on function public.unpin_picture(text) from public, anon, authenticated;
grant execute on function public.unpin_picture(text) to service_role;
