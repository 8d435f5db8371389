-- Which generations have entries that are not what they must be, and which totals are wrong? None: a row is a fault.
select
    f.generation_key,
    f.kind,
    f.fault,
    f.found,
    f.expected
from copperplate.entry_faults as f
order by f.kind, f.generation_key, f.fault;
