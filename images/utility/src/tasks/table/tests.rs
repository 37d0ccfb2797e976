use super::*;
use crate::shared::testing::{Fuse, World, first, unless_killed};
use kernel::protocol::Peer;
use kernel::protocol::tasks::{End, Program};

fn record(id: TaskForceId, request: u64) -> Record {
    let program = Program { name: "wordcount".into(), arguments: vec!["/input".into()] };
    Record::new(id, program, &[first(3), first(4)], (first(9), request), (Peer::LAUNCHER, 1))
}

fn table(memory: &SharedMemory, world: &World, peer: u16) -> Table {
    Table::attach(memory.clone(), world.activity(peer)).expect("room")
}

#[test]
fn the_same_request_makes_one_task_force() {
    let (memory, world) = (SharedMemory::heap(TABLE_BYTES), World::default());
    let tables = [table(&memory, &world, 1), table(&memory, &world, 2)];
    let made = tables[0].insert(|id| record(id, 5)).unwrap();
    assert_eq!(tables[1].insert(|id| record(id, 5)).unwrap(), made);
    assert_eq!(tables[1].created_by(first(9), 5), Some(made.clone()));
    let other = tables[1].insert(|id| record(id, 6)).unwrap();
    assert_ne!(other.task_force.id, made.task_force.id);
    assert_eq!(tables[0].all().len(), 2);
    tables[0].remove(made.task_force.id);
    assert_eq!(tables[1].get(made.task_force.id), None);
}

#[test]
fn what_has_ended_gives_way_and_what_runs_does_not() {
    let (memory, world) = (SharedMemory::heap(TABLE_BYTES), World::default());
    let table = table(&memory, &world, 1);
    let made: Vec<_> =
        (0..SLOT_COUNT as u64).map(|n| table.insert(|id| record(id, n)).unwrap().task_force.id).collect();
    assert_eq!(table.insert(|id| record(id, 1000)), None);
    for index in 0..2 {
        table.update(made[7], |record| record.end(index, End::Exited(0))).unwrap();
    }
    assert!(table.get(made[7]).unwrap().has_ended());
    assert!(table.insert(|id| record(id, 1000)).is_some());
    assert_eq!(table.get(made[7]), None);
}

#[test]
fn a_death_at_any_store_leaves_the_old_record_or_the_new() {
    for stores in 0..200 {
        let (memory, world) = (SharedMemory::heap(TABLE_BYTES), World::default());
        let survivor = table(&memory, &world, 1);
        let id = survivor.insert(|id| record(id, 1)).unwrap().task_force.id;
        let fuse = Fuse::after(stores);
        let doomed = Table::over(Cells::new(memory.clone()).with_fuse(fuse), world.activity(2)).unwrap();
        let finished = unless_killed(|| {
            doomed.update(id, |record| record.end(0, End::Exited(0)));
        });
        world.bury(first(2));
        let ended = survivor.get(id).unwrap().task_force.activities[0].end;
        assert!(ended.is_none() || ended == Some(End::Exited(0)));
        survivor.update(id, |record| record.end(0, End::Exited(0)));
        assert_eq!(survivor.get(id).unwrap().task_force.activities[0].end, Some(End::Exited(0)));
        if finished.is_some() {
            return;
        }
    }
    panic!("200 stores are more than an update has");
}
