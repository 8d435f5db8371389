-- What did the cache save in money, and how much of what was served cost no call?
-- A served picture that cost no call saves what that picture's own call cost. `unpriced` calls, and `unpriced_saved`
-- pictures, have no known price: they are in no sum. `estimated` calls have no bill and count with what was estimated.
select
    s.kind,
    s.served,
    s.saved,
    s.efficiency_percent,
    round(s.spent_micro_usd / 1000000.0, 6) as spent_usd,
    round(s.saved_micro_usd / 1000000.0, 6) as saved_usd,
    s.estimated,
    s.unpriced,
    s.unpriced_saved
from public.get_savings() as s
order by s.kind;
