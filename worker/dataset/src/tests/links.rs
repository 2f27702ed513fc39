//! Links in folders and archives.

use super::*;

#[test]
fn links_out_of_an_archive_are_no_pictures() {
    let world = World::new();
    let mut writer = zip::ZipWriter::new(fs::File::create(world.path("links.zip")).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for (class, name, bytes) in pictures() {
        writer.start_file(format!("{class}/{name}"), options).unwrap();
        writer.write_all(&bytes).unwrap();
    }
    writer.add_symlink("cat/shadow.jpg", "/etc/shadow", options).unwrap();
    writer.finish().unwrap();
    assert_eq!(world.prepare(&world.path("links.zip")).unwrap().len(), 3);
}

#[test]
fn pictures_that_links_in_a_circle_lead_to_count_once() {
    use std::os::unix::fs::symlink;
    let world = World::new();
    let folder = world.image_folder();
    symlink(&folder, folder.join("cat/again")).unwrap();
    symlink(folder.join("dog"), folder.join("cat/to-dog")).unwrap();
    symlink(folder.join("cat"), folder.join("dog/to-cat")).unwrap();
    symlink("itself.jpg", folder.join("dog/itself.jpg")).unwrap();
    symlink("/nowhere", folder.join("dog/nothing.jpg")).unwrap();
    let packed = world.prepare(&folder).unwrap();
    assert_eq!((packed.len(), packed.labels()), (3, &[0, 0, 1][..]));
    assert_eq!(counts(&packed), [("dangling_link", "", 2), ("link_loop", "", 3)]);
}

#[test]
fn links_that_lead_out_or_across_are_followed() {
    use std::os::unix::fs::symlink;
    let world = World::new();
    world.write("far/more/a.jpg", &jpeg([1; 3]));
    // The other place leads back; that is where the circle is cut.
    let folder = world.image_folder();
    symlink(&folder, world.path("far/more/back")).unwrap();
    symlink(world.path("far/more"), folder.join("cow")).unwrap();
    symlink(folder.join("dog"), folder.join("cat/across")).unwrap();
    let packed = world.prepare(&folder).unwrap();
    assert_eq!(packed.classes(), ["cat", "cow", "dog"]);
    assert_eq!(packed.labels(), [0, 0, 0, 1, 2]);
    assert_eq!(counts(&packed), [("link_loop", "", 1)]);
}
