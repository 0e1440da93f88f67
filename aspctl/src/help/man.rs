//! Man pages, with the sections of each command.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{HelpSection, sections_of};

/// Writes a page for each command of the command line into the folder.
pub(crate) fn write_pages(command_line: Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut aspctl = command_line.disable_help_subcommand(true);
    aspctl.build();
    write_page(&aspctl, folder)
}

/// Writes the pages of a command and of those below it.
fn write_page(command: &Command, folder: &Path) -> io::Result<()> {
    for below in visible_subcommands(command) {
        write_page(below, folder)?;
    }
    let page = Man::new(command.clone());
    let mut text = Vec::new();
    render(command, &page, &mut text)?;
    fs::write(folder.join(page.get_filename()), text)
}

/// Renders a page. Unlike [`Man::render`], it gives each section of this program its own title.
fn render(command: &Command, page: &Man, text: &mut dyn Write) -> io::Result<()> {
    page.render_title(text)?;
    page.render_name_section(text)?;
    page.render_synopsis_section(text)?;
    page.render_description_section(text)?;
    page.render_options_section(text)?;
    if visible_subcommands(command).next().is_some() {
        page.render_subcommands_section(text)?;
    }
    let path = command.get_bin_name().unwrap_or_else(|| command.get_name());
    for section in sections_of(path) {
        render_section(&section, text)?;
    }
    page.render_version_section(text)
}

fn render_section(section: &HelpSection, text: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::default();
    roff.control("SH", [section.title.to_uppercase().as_str()]);
    for entry in &section.entries {
        roff.control("TP", []);
        roff.text([bold(entry.term)]);
        roff.text([roman(entry.meaning)]);
    }
    roff.to_writer(text)
}

fn visible_subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|one| !one.is_hide_set())
}
