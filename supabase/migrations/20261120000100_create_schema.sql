-- The private schema: internals live here, `public` holds what people and PostgREST use.
create schema copperplate;

comment on schema copperplate is
'Internals of Copperplate: entries, roll-ups, discarded objects, the clock. Not exposed through PostgREST.';

revoke all on schema copperplate from public, anon, authenticated;

-- Usage alone reveals nothing: every object below has its own grants. The two public statistics
-- functions run with the rights of their caller and read one small table in here.
grant usage on schema copperplate to service_role, anon, authenticated;

-- A new function is executable by everyone until that is revoked, so each revokes it where it is made. Default
-- privileges of this schema could not: they add to the global ones, which are the project's own.

-- One sequence for all keys: a fence never repeats, not even for a key that was deleted and came back.
create sequence copperplate.fences as bigint;

comment on sequence copperplate.fences is 'Every new lease takes the next number; the highest holder of a key wins.';

revoke all on sequence copperplate.fences from public, anon, authenticated;
grant usage on sequence copperplate.fences to service_role;

-- The only clock that decides leases and negative entries. A test may move it by setting
-- `copperplate.clock_offset` to an interval; nothing else reads that setting.
create function copperplate.clock()
returns timestamptz
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_offset text := current_setting('copperplate.clock_offset', true);
begin
    if v_offset is null or v_offset = '' then
        return clock_timestamp();
    end if;
    return clock_timestamp() + v_offset::interval;
end;
$$;

comment on function copperplate.clock() is
'Now, as the ledger sees it: clock_timestamp(), moved by the test setting copperplate.clock_offset.';

revoke all on function copperplate.clock() from public, anon, authenticated;
grant execute on function copperplate.clock() to service_role, anon, authenticated;
