"""Notes and attachments in Django's admin."""

from django.contrib import admin

from testproject.notes.models import Attachment, Note


class AttachmentInline(admin.TabularInline):
    model = Attachment
    extra = 0
    fields = ["name", "file", "size", "sha256"]
    readonly_fields = ["size", "sha256"]
    can_delete = True

    def has_add_permission(self, *_: object) -> bool:
        """Files come in by the upload page, which counts and hashes them."""
        return False


@admin.register(Note)
class NoteAdmin(admin.ModelAdmin):
    list_display = ["title", "author", "created", "word_count"]
    list_filter = ["author"]
    date_hierarchy = "created"
    search_fields = ["title", "body"]
    inlines = [AttachmentInline]


@admin.register(Attachment)
class AttachmentAdmin(admin.ModelAdmin):
    list_display = ["name", "note", "size", "created"]
    readonly_fields = ["file", "size", "sha256"]

    def has_add_permission(self, *_: object) -> bool:
        """Files come in by the upload page, which counts and hashes them."""
        return False
